//! The simulations run against the simulated tokio, and the shipped server against the real one.

use std::process::Command;

#[test]
fn the_twins_tokio_is_the_simulated_one() {
    let name = std::any::type_name::<tokio::net::TcpStream>();
    assert!(name.starts_with("zokor_tokio_sim"), "{name}");
    let name = std::any::type_name::<tokio::time::Sleep>();
    assert!(name.starts_with("madsim"), "{name}");
}

#[test]
fn the_server_has_nothing_of_madsim_in_it() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = Command::new(cargo)
        .args(["tree", "--offline", "-p", "zokor", "-e", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is what runs this test");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.contains("zokor-net v"), "{tree}");
    assert!(tree.contains("tokio v"), "{tree}");
    assert!(!tree.contains("madsim"), "{tree}");
}
