// sigstore-js as a judge: reads one case a line from standard input and answers
// each with one line, {"error": …}, null when the bundle is verified.
//
// A case is JSON: root, a trusted root as text; bundle and artifact in base64;
// subject and issuer, or key, a public key as PEM.
import readline from 'node:readline';
import { bundleFromJSON } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { createPublicKey } from 'node:crypto';

const verifiers = new Map();

// verifier is as sigstore.createVerifier makes it, without TUF.
function verifier(root, key) {
  const name = root + '\n' + (key ?? '');
  if (!verifiers.has(name)) {
    const finder = key ? () => ({ publicKey: createPublicKey(key), validFor: () => true }) : undefined;
    verifiers.set(name, new Verifier(toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(root)), finder)));
  }
  return verifiers.get(name);
}

function judge({ root, bundle, artifact, subject, issuer, key }) {
  const text = Buffer.from(bundle, 'base64').toString();
  const entity = toSignedEntity(bundleFromJSON(JSON.parse(text)), Buffer.from(artifact, 'base64'));
  const policy = key ? undefined : { subjectAlternativeName: subject, extensions: { issuer } };
  verifier(root, key).verify(entity, policy);
}

for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  let error = null;
  try {
    judge(JSON.parse(line));
  } catch (e) {
    error = `${e?.name}: ${e?.message}`;
  }
  process.stdout.write(JSON.stringify({ error }) + '\n');
}
