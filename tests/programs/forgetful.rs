//! A program that forgot the first line of its `main`, and has no tasks.

use atasker::{Call, Limits, Supervisor};

fn main() {
    if std::env::args().nth(1).as_deref() == Some("by name") {
        let supervisor = Supervisor::builder().inline().start().expect("it starts without workers");
        let call = Call::by_name("thumbnail", serde_json::json!([]));
        println!("{}", supervisor.submit(call).expect_err("there is no task"));
        return;
    }
    let error =
        Supervisor::builder().processes(Limits::new(1)).start().expect_err("it is forgotten");
    println!("{error}");
}
