//! Compiles the protos with protox, so that no protoc has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::path::PathBuf::from("../../proto"); // cargo runs this in the package's folder
    let protos = ["coordinator", "sweep"].map(|name| root.join(format!("lsgan/v1/{name}.proto")));
    for proto in &protos {
        println!("cargo:rerun-if-changed={}", proto.display());
    }
    let descriptors = protox::compile(&protos, [&root])?;
    tonic_prost_build::configure().btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
