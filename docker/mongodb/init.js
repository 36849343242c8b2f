// Makes MongoDB a replica set of one member and creates its users: `root` for the operator, and `sightline`, who owns the database of
// this name only. Each has a password of its own. Does nothing the second time. Runs in mongosh on the server's loopback interface,
// where MongoDB lets anybody create the first user, if that one has only roles of the database `admin`.
//
// mongosh waits for its own functions as if they were not asynchronous, but only where they are called by name, so no function here
// takes another as its argument.
const fs = require("fs");
const secrets = { root: "mongodb_root_password", sightline: "mongodb_password" };

function passwordOf(user) {
  return fs.readFileSync(`/run/secrets/${secrets[user]}`, "utf8").trim();
}

// The shell itself waits 2 s for a server, which is not enough on a full processor.
function connect() {
  return new Mongo("mongodb://127.0.0.1:27017/?directConnection=true&serverSelectionTimeoutMS=60000").getDB("admin");
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

// The database `admin` with the rights of a user; nothing if the user does not exist or has another password.
function signIn(user, password) {
  const admin = connect();
  try {
    admin.auth(user, password);
    return admin;
  } catch (error) {
    if (error.codeName !== "AuthenticationFailed") throw error;
    return undefined;
  }
}

function createUser(admin, user, roles) {
  try {
    admin.createUser({ user, pwd: passwordOf(user), roles });
  } catch (error) {
    print(`note: the user ${user} was not created: ${error.codeName}`);
  }
}

// The database `admin` with the rights of a user who must exist by now.
function mustSignIn(user) {
  const admin = signIn(user, passwordOf(user));
  if (!admin) fail(`MongoDB's volume was made with another password than the secret ${secrets[user]}`);
  return admin;
}

function fail(text) {
  print(`error: ${text}`);
  quit(1);
}

initiate();
if (!isPrimary()) fail("MongoDB did not become the primary of its replica set within 30 s");
if (!signIn("root", passwordOf("root"))) {
  // In older volumes root has the password of sightline, which the services know.
  const old = signIn("root", passwordOf("sightline"));
  if (old) old.changeUserPassword("root", passwordOf("root"));
  else createUser(connect(), "root", ["root"]);
}
const admin = mustSignIn("root");
if (!signIn("sightline", passwordOf("sightline"))) createUser(admin, "sightline", [{ role: "dbOwner", db: "sightline" }]);
mustSignIn("sightline");
