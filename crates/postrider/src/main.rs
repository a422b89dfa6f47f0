//! The `postrider` command: reads the configuration, composes the services of its roles and runs them in one process.
//!
//! **In → out.** Flags, file and environment in; for `serve` an HTTP listener and signed requests to endpoints out.
//!
//! **Invariants.** Only this crate reads the environment, knows every service and names the adapters. A service that
//! ends before it was told to takes the process with it: nothing runs half alive.
//!
//! **Authority and crashes.** Nothing is kept here. The log and the store, in the data directory or on their servers, are the
//! truth, and a start after kill -9 is an ordinary start.
//!
//! **Failing and stopping.** Exit code 0: done, or stopped when told to. 1: something failed, and standard error says
//! what. 2: the command line or the configuration is wrong. SIGTERM and SIGINT drain; a second one ends at once, with
//! 128 and its number: 143 or 130.

mod access;
mod commands;
mod condition;
mod config;
mod data_dir;
mod declared;
mod demo;
mod doctor;
mod doors;
mod http;
mod kafka;
mod limits;
mod lines;
mod observe;
mod opening;
mod options;
mod out;
mod parts;
mod process;
mod receiver;
mod reload;
mod roles;
mod routes;
mod services;
mod shown;
mod signals;
mod slots;
mod supervise;
mod telemetry;
mod token;
mod traces;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    take_small_pages();
    let ended = commands::Command::parse().run();
    // Where nobody reads the last lines, nobody would read more, and whoever wrote it would wait for ever.
    let is_read = lines::finish();
    match ended {
        Ok(code) => code,
        Err(error) => {
            if is_read {
                out::notice(out::causes(&error));
            }
            let misused = error.is::<config::ConfigError>();
            ExitCode::from(if misused { 2 } else { 1 })
        }
    }
}

/// Of a page of 2 MiB in which a few bytes are used the process holds all: thirty megabytes more when it has nothing to do.
fn take_small_pages() {
    #[cfg(target_os = "linux")]
    // A kernel that cannot be told so costs memory and nothing else.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
