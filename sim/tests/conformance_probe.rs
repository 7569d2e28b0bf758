use zokor_sim::sweep::sweep;
#[test]
fn probe() {
    let n = std::env::var("SIM_SEEDS").map_or(20, |n| n.parse().unwrap());
    let s = sweep(0, n, |_| {});
    println!("{s}");
    for f in s.failures.iter().take(12) { println!("{}", f.failure().unwrap()); }
}
