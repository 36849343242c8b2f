//! End-to-end tests with processes, ports and files.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails")]

mod accounts;
mod arrows;
mod attributes;
mod audio;
mod backup;
mod bad_start;
mod closed_output;
mod combinations;
mod data_folder;
mod delivery;
mod demo;
mod faces;
mod faces_enrol;
mod healthcheck;
mod migrate;
mod modules;
mod nothing_lost;
mod old_data;
mod processes;
mod push;
mod real_input;
mod reference_flow;
mod routes_page;
mod scheme;
mod services;
mod settings;
mod shop;
mod startup_commands;
mod tls;
mod topics;
mod traces;
mod uploads;
mod vehicles;
mod videos;
mod without_server;
