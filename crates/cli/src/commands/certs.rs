//! `tidegate certs`.

mod authority;

use std::fs::Permissions;
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use self::authority::{Authority, Purpose};
use crate::output::{eprint_line, print_line, print_text};

/// Make certificates for a first try of TLS
#[derive(Debug, Args)]
pub(super) struct Certs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    /// Make a local authority, a certificate for this server, and certificates for clients
    ///
    /// The authority is made once and kept in the folder. The certificates are new each time; a
    /// running server takes them.
    Dev(Dev),
}

#[derive(Debug, Args)]
struct Dev {
    /// The folder of the files
    #[arg(long, value_name = "DIR", default_value = "certs")]
    out: PathBuf,
    /// A further name or address of the server, besides localhost and those given before; may be
    /// repeated
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Make a certificate for this client: a name, an e-mail address or a SPIFFE id; may be repeated
    #[arg(long, value_name = "NAME")]
    client: Vec<String>,
}

/// The names that the certificate of the server always has.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The file with the names of the server: the next certificate has them too.
const NAMES: &str = "server-names.txt";

impl Certs {
    pub(super) fn run(self) -> Result<ExitCode> {
        let CertsCommand::Dev(dev) = self.command;
        dev.run()?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Dev {
    fn run(self) -> Result<()> {
        let out = &self.out;
        std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
        // Whole paths: the server is started in another folder, perhaps.
        let out = out.canonicalize()?;
        let authority = Authority::open_or_create(&out)?;
        let mut names = LOCAL.map(str::to_owned).to_vec();
        for name in kept_names(&out)?.iter().chain(&self.name) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let server = authority.issue("localhost", &names, Purpose::Server)?;
        let (certificate, key) = (out.join("server.pem"), out.join("server-key.pem"));
        write_private(&key, &server.key)?;
        write_private(&certificate, &server.certificate)?;
        write_private(&out.join(NAMES), &format!("{}\n", names.join("\n")))?;
        print_line!("authority  {}", authority.certificate_file().display());
        print_line!(
            "server     {} for {}",
            certificate.display(),
            names.join(", ")
        );
        for client in &self.client {
            issue_client(&authority, &out, client)?;
        }
        self.print_next_steps(&out, &authority);
        Ok(())
    }

    fn print_next_steps(&self, out: &Path, authority: &Authority) {
        let ca = authority.certificate_file().display();
        print_text("\nin tidegate.toml:\n\n");
        print_line!("[tls]");
        print_line!("cert_file = {:?}", out.join("server.pem"));
        print_line!("key_file = {:?}", out.join("server-key.pem"));
        let mut client = String::new();
        if let Some(name) = self.client.first() {
            print_line!("client_ca_file = {:?}", authority.certificate_file());
            print_line!("client_auth = \"optional\"");
            client = format!(" --cert {}", client_file(out, name).display());
        }
        print_text("\nthen:\n\n");
        print_line!("curl --cacert {ca}{client} https://localhost:8000/v2/health/ready");
        print_line!("tidegate models --url https://localhost:8000 --ca-file {ca}");
        eprint_line!(
            "these certificates are for trying: anybody who can read {} can make more of them",
            out.join("ca-key.pem").display()
        );
    }
}

/// The names that the certificate of the server has had.
fn kept_names(out: &Path) -> Result<Vec<String>> {
    let path = out.join(NAMES);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

/// Makes the certificate of a client, in one file with its key.
fn issue_client(authority: &Authority, out: &Path, name: &str) -> Result<()> {
    let issued = authority.issue(name, &[name.to_owned()], Purpose::Client)?;
    let file = client_file(out, name);
    write_private(&file, &format!("{}{}", issued.certificate, issued.key))?;
    print_line!("client     {} for {name}", file.display());
    Ok(())
}

/// A SPIFFE id has characters that names of files cannot have.
fn client_file(out: &Path, name: &str) -> PathBuf {
    let named: Vec<&str> = name
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.')
        .filter(|part| !part.is_empty())
        .collect();
    out.join(format!("client-{}.pem", named.join("-")))
}

/// Writes a file that nobody else may read.
fn write_private(path: &Path, content: &str) -> Result<()> {
    write(path, content, 0o600)
}

/// Writes a file at once: a server may be reading it.
fn write(path: &Path, content: &str, mode: u32) -> Result<()> {
    let Some(folder) = path.parent() else {
        bail!("{} is not a file", path.display());
    };
    let replace = || -> std::io::Result<()> {
        // Made with the permissions 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    replace().with_context(|| format!("cannot write {}", path.display()))
}

/// Whether a name is an address.
fn address(name: &str) -> Option<IpAddr> {
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_client_is_named_after_it() {
        let file = |name: &str| client_file(Path::new("c"), name);
        assert_eq!(file("shop"), Path::new("c/client-shop.pem"));
        assert_eq!(
            file("spiffe://cluster/ns/ml/sa/shop"),
            Path::new("c/client-spiffe-cluster-ns-ml-sa-shop.pem")
        );
        assert_eq!(
            file("../ada@example.com"),
            Path::new("c/client-..-ada-example.com.pem")
        );
    }
}
