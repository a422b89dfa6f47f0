//! Compiles `proto/` without a `protoc`.

#[expect(
    clippy::disallowed_methods,
    reason = "Cargo tells a build script where to write by the environment"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    println!("cargo::rerun-if-changed={root}");
    let descriptors = protox::compile(["postrider/v1/pipeline.proto"], [root])?;
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    // Of those that are written again by who has read them.
    for name in ["Delivery", "DeadLetter", "EndpointState"] {
        let messages = descriptors.file.iter().flat_map(|file| &file.message_type);
        let found = messages.filter(|message| message.name.as_deref() == Some(name));
        let fields = found.flat_map(|message| &message.field);
        let newest = fields.filter_map(|field| field.number).max();
        let newest = newest.ok_or_else(|| format!("a message {name} was due"))?;
        std::fs::write(
            out.join(format!("{name}.rs")),
            format!(
                "/// The newest field that this version knows.\nconst NEWEST_FIELD: u32 = {newest};\n"
            ),
        )?;
    }
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
