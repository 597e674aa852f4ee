//! atasker beside its peers, in one run: rounds interleaved, everybody else asleep meanwhile, every result
//! verified. Prints Markdown: medians and their spread, ratios, and which bars are met.
//!
//! `cargo run --release -p atasker-benches --bin compare -- --help`

mod arguments;
mod machine;
mod report;
mod rounds;
mod run;
mod sections;
mod watch;

use std::process::ExitCode;

use arguments::{Arguments, Parsed};
use run::Run;
use rustix::process::Resource;
use sections::SECTIONS;

fn main() -> ExitCode {
    atasker_benches::serve_if_started_for_that();
    let titles: Vec<_> = SECTIONS.iter().map(|section| section.title).collect();
    let arguments = match arguments::parse(std::env::args().skip(1), &titles) {
        Ok(Parsed::Measure(arguments)) => arguments,
        Ok(Parsed::Help) => {
            println!("{}", arguments::usage(&titles));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("compare: {error}\n\n{}", arguments::usage(&titles));
            return ExitCode::from(2);
        }
    };
    allow_many_descriptors();
    compare(arguments);
    ExitCode::SUCCESS
}

/// procspawn needs two for each task that is on its way, and often only 1,024 are allowed at first.
fn allow_many_descriptors() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If that is refused, procspawn says what is missing.
    let _refused_or_not = rustix::process::setrlimit(Resource::Nofile, limit);
}

fn compare(arguments: Arguments) {
    let mut run = Run::new(arguments);
    println!("{}", machine::header(&run.cores, &run.arguments, run.rounds()));
    for (number, section) in SECTIONS.iter().enumerate() {
        if !run.arguments.wants(section.title) {
            continue;
        }
        println!("### {}. {}\n\n{}\n", number + 1, section.title, section.about);
        for placement in section.placements {
            if run.arguments.wants_placement(*placement) {
                eprintln!("{}, {placement} …", section.title);
                (section.measure)(&mut run, *placement);
            }
        }
    }
    println!("{}", report::summary(&run.verdicts));
    println!("{}", run.watch.summary());
}
