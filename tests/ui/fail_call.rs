use std::path::Path;

use atasker::task;

#[task]
fn thumbnail(path: &Path, size: u32) -> Vec<u8> {
    vec![0; path.as_os_str().len() + size as usize]
}

fn main() {
    thumbnail::call("a.png", 7);
    thumbnail::call(Path::new("a.png"));
}
