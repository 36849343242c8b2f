// Makes MongoDB a replica set of one member and creates the user sightline. Does nothing the second time. Runs in mongosh on the
// server's loopback interface, where MongoDB lets anybody create the first user.
//
// mongosh waits for its own functions as if they were not asynchronous, but only where they are called by name, so no function here
// takes another as its argument.
const fs = require("fs");
const password = fs.readFileSync("/run/secrets/mongodb_password", "utf8").trim();

function connect() {
  return new Mongo("mongodb://127.0.0.1:27017/?directConnection=true").getDB("admin");
}

function initiate() {
  try {
    connect().runCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: "mongodb:27017" }] } });
  } catch (error) {
    // It was initiated before.
  }
}

function isPrimary() {
  for (let tries = 0; tries < 300; tries++) {
    if (connect().hello().isWritablePrimary) return true;
    sleep(100);
  }
  return false;
}

function signIn() {
  try {
    const reply = connect().auth("sightline", password);
    return reply.ok === 1;
  } catch (error) {
    return false;
  }
}

function createUser() {
  try {
    const reply = connect().createUser({ user: "sightline", pwd: password, roles: [{ role: "dbOwner", db: "sightline" }] });
    return reply.ok === 1;
  } catch (error) {
    return false;
  }
}

// Right after an election the server may refuse the first user too, so one refusal says nothing yet.
function hasUser() {
  for (let tries = 0; tries < 30; tries++) {
    if (signIn() || createUser()) return true;
    sleep(100);
  }
  return false;
}

function fail(text) {
  print(`error: ${text}`);
  quit(1);
}

initiate();
if (!isPrimary()) fail("MongoDB did not become the primary of its replica set within 30 s");
if (!hasUser()) fail("MongoDB's volume was made with another password than the secret mongodb_password");
