// Makes MongoDB a replica set of one member and creates the user sightline. Does nothing the second time. Runs on the server's loopback
// interface, where MongoDB lets anybody create the first user.
const fs = require("fs");
const password = fs.readFileSync("/run/secrets/mongodb_password", "utf8").trim();
const admin = new Mongo("mongodb://127.0.0.1:27017/?directConnection=true").getDB("admin");

function isSignedIn() {
  try {
    return admin.auth("sightline", password).ok === 1;
  } catch (error) {
    return false;
  }
}

function initiate() {
  try {
    admin.runCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: "mongodb:27017" }] } });
  } catch (error) {
    // It was initiated before, and its user exists.
    if (!["AlreadyInitialized", "Unauthorized"].includes(error.codeName)) throw error;
  }
}

function awaitPrimary() {
  for (let tries = 0; tries < 300; tries++) {
    if (admin.hello().isWritablePrimary) return;
    sleep(100);
  }
  throw new Error("MongoDB did not become the primary of its replica set within 30 s");
}

function createUser() {
  try {
    admin.createUser({ user: "sightline", pwd: password, roles: [{ role: "dbOwner", db: "sightline" }] });
  } catch (error) {
    if (error.codeName !== "Unauthorized") throw error;
    print("error: MongoDB's volume was made with another password than the secret mongodb_password");
    quit(1);
  }
}

initiate();
awaitPrimary();
if (!isSignedIn()) createUser();
