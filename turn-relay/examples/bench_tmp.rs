#![allow(dead_code, missing_docs, unreachable_pub, clippy::all)]
#[path = "../../benches/src/forward/process.rs"]
mod process;
#[path = "../../benches/src/turn/mod.rs"]
mod turn;
mod report {
    #[derive(Clone, Copy)]
    pub enum Better {
        Higher,
        Lower,
    }
    pub struct Row {
        pub bench: String,
        pub unit: String,
        pub better: Better,
        pub us: Vec<f64>,
        pub peer: Option<Other>,
        pub limit: Option<Other>,
    }
    pub struct Other {
        pub name: String,
        pub runs: Vec<f64>,
    }
    pub fn median(r: &[f64]) -> f64 {
        let mut r = r.to_vec();
        r.sort_by(f64::total_cmp);
        r.get(r.len() / 2).copied().unwrap_or(0.0)
    }
    pub fn write(_: &[Row]) -> anyhow::Result<()> {
        Ok(())
    }
    pub fn table(rows: &[Row]) -> String {
        rows.iter()
            .map(|r| {
                let (u, p) = (median(&r.us), median(&r.peer.as_ref().unwrap().runs));
                format!("{:45} {:>12.4} {:>12.4} {:>6.2}\n", r.bench, u, p, u / p)
            })
            .collect()
    }
}
#[derive(clap::Parser)]
struct A {
    #[command(flatten)]
    o: turn::Options,
}
fn main() -> anyhow::Result<()> {
    turn::run(&<A as clap::Parser>::parse().o)
}
