#[atasker::main]
async fn main() {}

mod other {
    #[atasker::main]
    fn main(arguments: Vec<String>) {}

    #[atasker::main(threads = 2)]
    fn start() {}

    #[atasker::main]
    struct Main;
}
