//! The routes of older clients.

mod accounts;
mod hello;
mod vehicles;
