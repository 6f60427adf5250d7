//! Compiles the `.proto` files without a system `protoc`.

use std::path::PathBuf;

use prost::Message;

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(
        ["proto/inference.proto", "proto/model_config.proto"],
        ["proto"],
    )?;
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Tensor data stays in the buffer that it was received in.
    tonic_prost_build::configure()
        .build_transport(false)
        .codec_path("crate::BoundedCodec")
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
