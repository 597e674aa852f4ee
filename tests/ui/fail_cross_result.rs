use atasker::{TaskResult, task};

struct Image(Vec<u8>);

#[task]
fn load(path: &str) -> Image {
    Image(path.into())
}

#[task]
fn try_load(path: &str) -> TaskResult<Image> {
    Ok(Image(path.into()))
}

fn main() {}
