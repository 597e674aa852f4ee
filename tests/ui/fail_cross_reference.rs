use atasker::task;

struct Image(Vec<u8>);

#[task]
fn scale(by: u32, image: &Image, other: Option<&Image>) -> usize {
    image.0.len() * by as usize + other.map_or(0, |other| other.0.len())
}

fn main() {}
