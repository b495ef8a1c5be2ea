//! Compiles what the rivals in C++ need, where that is there.

use std::env;
use std::path::PathBuf;

/// The header that is looked for.
const HEADER: &str = "boost/interprocess/ipc/message_queue.hpp";
const SOURCE: &str = "src/rivals/boost.cpp";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(boost)");
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=BOOST_INCLUDE_DIR");
    let said = env::var_os("BOOST_INCLUDE_DIR").map(PathBuf::from);
    let usual = ["/usr/include", "/usr/local/include"].map(PathBuf::from);
    let Some(include) = said.into_iter().chain(usual).find(|path| path.join(HEADER).exists())
    else {
        return;
    };
    let mut build = cc::Build::new();
    // The headers are not ours to warn of.
    build.cpp(true).std("c++17").warnings(false).opt_level(3).flag("-isystem").flag(include);
    match build.file(SOURCE).try_compile("boost_queue") {
        Ok(()) => println!("cargo::rustc-cfg=boost"),
        Err(error) => {
            println!("cargo::warning=Boost's headers are there and do not compile: {error}")
        }
    }
}
