use atasker::task;

struct Image(Vec<u8>);

#[task]
fn scale(image: Image, by: u32) -> usize {
    image.0.len() * by as usize
}

fn main() {}
