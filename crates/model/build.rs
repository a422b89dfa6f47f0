//! Compiles `proto/` without a `protoc`.

#[expect(
    clippy::disallowed_methods,
    reason = "Cargo tells a build script where to write by the environment"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    println!("cargo::rerun-if-changed={root}");
    let descriptors = protox::compile(["postrider/v1/pipeline.proto"], [root])?;
    let messages = descriptors.file.iter().flat_map(|file| &file.message_type);
    let deliveries = messages.filter(|message| message.name.as_deref() == Some("Delivery"));
    let fields = deliveries.flat_map(|message| &message.field);
    let newest = fields.filter_map(|field| field.number).max();
    let newest = newest.ok_or("a message Delivery was due")?;
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    std::fs::write(
        out.join("delivery_fields.rs"),
        format!(
            "/// The newest field of a delivery that this version knows.\nconst NEWEST_FIELD: u32 = {newest};\n"
        ),
    )?;
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
