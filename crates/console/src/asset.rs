//! The style sheet, the script and the icon: part of the binary, at paths that change with their
//! content.

use std::sync::LazyLock;

/// A file that pages load. Its content never changes under its path.
#[derive(Debug)]
pub struct Asset {
    /// Its path.
    pub path: String,
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: &'static str,
    /// A hash of the content.
    pub tag: String,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new(
            "console",
            "css",
            "text/css; charset=utf-8",
            include_str!("../assets/console.css"),
        ),
        Asset::new(
            "console",
            "js",
            "text/javascript; charset=utf-8",
            include_str!("../assets/console.js"),
        ),
        Asset::new(
            "icon",
            "svg",
            "image/svg+xml",
            include_str!("../assets/icon.svg"),
        ),
    ]
});

/// Every file that pages load.
pub fn assets() -> &'static [Asset] {
    &*ASSETS
}

pub(crate) fn style() -> &'static Asset {
    &ASSETS[0]
}

pub(crate) fn script() -> &'static Asset {
    &ASSETS[1]
}

pub(crate) fn icon() -> &'static Asset {
    &ASSETS[2]
}

impl Asset {
    fn new(name: &str, extension: &str, content_type: &'static str, body: &'static str) -> Self {
        let tag = format!("{:016x}", fnv1a(body.as_bytes()));
        Self {
            path: format!("/console/assets/{name}-{tag}.{extension}"),
            content_type,
            body,
            tag,
        }
    }
}

/// FNV-1a (<http://www.isthe.com/chongo/tech/comp/fnv/>): the tag must differ between builds, but it need not
/// withstand an attacker.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
