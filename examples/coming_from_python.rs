//! The code examples of the Python library's README as one program, in their order: start and stop, background
//! tasks, async tasks, workers. Every name has its row in `atasker::coming_from_python`.

use std::error::Error;
use std::ops::ControlFlow;
use std::time::Duration;

use atasker::BackgroundWorker;
use atasker::background::{Background, Hooks, Run};
use atasker::prelude::*;

#[atasker::main]
fn main() -> Result<(), Box<dyn Error>> {
    // Start/stop. The sizes of the thread pool are those of the README; processes come with the first process task.
    let threads = Limits::new(20).reserve_normal(5).reserve_high(5);
    let supervisor = Supervisor::builder().threads(threads).start()?;

    background_tasks(&supervisor)?;
    async_tasks(&supervisor)?;
    workers(&supervisor)?;

    // Stop from any thread, here from another. `join` blocks until somebody has.
    std::thread::scope(|scope| {
        scope.spawn(|| supervisor.stop(Stop::Drain));
        supervisor.join();
    });
    Ok(())
}

/// On the thread pool. A plain function, too: only `call` makes a task of it.
#[task(io)]
fn my_task() -> u32 {
    println!("I am working in the background!");
    777
}

/// In a worker process, where the Python library needs `tt=TT_MP` and a module of its own.
#[task]
fn my_heavy_task(a: u32, x: u32) -> u32 {
    a + x
}

fn background_tasks(supervisor: &Supervisor) -> Result<(), Box<dyn Error>> {
    let task = supervisor.submit(my_task::call())?;
    let result = task.wait()?;
    println!("{result}"); // 777

    // Without the attribute.
    let my_task_2 = || println!("I am working in the background, too!");
    supervisor.submit(Call::closure(my_task_2).priority(Priority::High))?.wait()?;

    println!("{}", supervisor.submit(my_heavy_task::call(3, 7))?.wait()?); // 10
    Ok(())
}

/// Detected as async: it runs on a loop.
#[task]
async fn calc(a: u32) -> u32 {
    println!("{a}");
    tokio::time::sleep(Duration::from_millis(10)).await;
    println!("{}", a * 2);
    a * 3
}

fn async_tasks(supervisor: &Supervisor) -> Result<(), Box<dyn Error>> {
    // A loop in a thread of its own.
    let my_loop = supervisor.create_loop("my loop")?;
    supervisor.set_default_loop(&my_loop)?;

    // As a task, on the default loop.
    println!("{}", supervisor.submit(calc::call(1))?.wait()?); // 3

    // Run a future, and wait for its value.
    println!("{}", my_loop.run(calc(1))??); // 3
    Ok(())
}

/// A background worker of one's own type.
struct MyWorker {
    runs: u32,
}

impl Hooks for MyWorker {}

impl Background for MyWorker {
    fn run(&mut self, (): (), run: &Run) -> TaskResult<ControlFlow<()>> {
        self.runs += 1;
        println!("I am a type of my own, {} runs for the {}. time", run.name(), self.runs);
        Ok(ControlFlow::Continue(()))
    }
}

fn workers(supervisor: &Supervisor) -> Result<(), Box<dyn Error>> {
    let _worker1 = BackgroundWorker::looping()
        .run(|run| {
            println!("I am a simple background worker");
            // Enough for an example.
            if run.number() < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .start(supervisor)?;
    let worker2 = BackgroundWorker::every(Duration::from_secs(1))
        .run(|_| println!("I run every second!"))
        .start(supervisor)?;
    let worker3 = BackgroundWorker::queue()
        .for_each(|task: &str, _| println!("I run when there is a task in my queue: {task}"))
        .start(supervisor)?;
    let worker4 = BackgroundWorker::on_event()
        .priority(Priority::High)
        .run(|_| println!("I run when triggered, with high priority"))
        .start(supervisor)?;

    worker3.put("todo1")?;
    worker4.trigger();

    let worker5 = BackgroundWorker::every(Duration::from_millis(100))
        .name("worker5")
        .run_own(MyWorker { runs: 0 })
        .start(supervisor)?;

    std::thread::sleep(Duration::from_millis(250));
    worker5.stop();
    // The others are stopped with the supervisor.
    assert!(worker2.is_active() && !worker5.is_active());
    Ok(())
}
