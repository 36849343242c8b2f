// Makes MongoDB a replica set of one member and creates the user sightline. Does nothing the second time. Runs on the server's loopback
// interface, where MongoDB lets anybody create the first user.
const fs = require("fs");
const password = fs.readFileSync("/run/secrets/mongodb_password", "utf8").trim();

const connect = () => new Mongo("mongodb://127.0.0.1:27017/?directConnection=true").getDB("admin");

// tries(COUNT, ACTION): repeats the action every 100 ms until it returns true.
function tries(count, action) {
  for (let number = 0; number < count; number++) {
    if (action()) return true;
    sleep(100);
  }
  return false;
}

// The result of a command, or the name of its error.
function run(action) {
  try {
    return action();
  } catch (error) {
    return error.codeName;
  }
}

const isPrimary = () => connect().hello().isWritablePrimary;
const signIn = () => run(() => connect().auth("sightline", password).ok) === 1;
const createUser = () =>
  run(() => connect().createUser({ user: "sightline", pwd: password, roles: [{ role: "dbOwner", db: "sightline" }] }).ok) === 1;

function fail(text) {
  print(`error: ${text}`);
  quit(1);
}

// Refused where it was done before.
run(() => connect().runCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: "mongodb:27017" }] } }));
if (!tries(300, isPrimary)) fail("MongoDB did not become the primary of its replica set within 30 s");
// Right after an election the server may refuse the first user too, so one refusal says nothing yet.
if (!tries(30, () => signIn() || createUser())) {
  fail("MongoDB's volume was made with another password than the secret mongodb_password");
}
