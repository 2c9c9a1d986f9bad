//! `sqlx::migrate!` cannot see a migration file that did not exist when it last expanded.

fn main() {
    println!("cargo::rerun-if-changed=../migrations");
}
