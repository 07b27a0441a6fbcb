// The sigstore-js client of the matrix: trusts an instance by its TUF
// repository, signs by its signing config and verifies, as npm users do.
//
//   client.mjs TUF_URL ROOT_JSON CACHE
//
// It stays: each line that it reads is a JSON array, and is answered with one line,
// {"error": null} if that went well.
//
//   trust
//   sign   TOKEN FILE BUNDLE
//   attest TOKEN FILE BUNDLE
//   verify FILE BUNDLE IDENTITY ISSUER
//
// With REKOR_VERSION=1 in the environment it sees no logs of other versions.
import fs from 'node:fs';
import readline from 'node:readline';
import { bundleToJSON } from '@sigstore/bundle';
import { SigningConfig } from '@sigstore/protobuf-specs';
import { bundleBuilderFromSigningConfig } from '@sigstore/sign';
import { initTUF } from '@sigstore/tuf';
import { verify } from 'sigstore';

const [mirrorURL, rootPath, cachePath] = process.argv.slice(2);

async function build(bundleType, token, artifact) {
  const client = await initTUF({ mirrorURL, rootPath, cachePath });
  const config = JSON.parse(await client.getTarget('signing_config.v0.2.json'));
  if (process.env.REKOR_VERSION === '1') {
    config.rekorTlogUrls = config.rekorTlogUrls.filter((log) => log.majorApiVersion === 1);
  }
  const builder = bundleBuilderFromSigningConfig({
    signingConfig: SigningConfig.fromJSON(config),
    identityProvider: { getToken: async () => token },
    bundleType,
  });
  return JSON.stringify(bundleToJSON(await builder.create(artifact)));
}

async function run([verb, ...args]) {
  switch (verb) {
    case 'trust':
      await initTUF({ mirrorURL, rootPath, cachePath, forceInit: true });
      break;
    case 'sign': {
      const [token, file, out] = args;
      fs.writeFileSync(out, await build('messageSignature', token, { data: fs.readFileSync(file) }));
      break;
    }
    case 'attest': {
      const [token, file, out] = args;
      fs.writeFileSync(out, await build('dsseEnvelope', token, { data: fs.readFileSync(file), type: 'application/vnd.in-toto+json' }));
      break;
    }
    case 'verify': {
      const [file, bundle, identity, issuer] = args;
      await verify(JSON.parse(fs.readFileSync(bundle).toString()), fs.readFileSync(file), {
        tufMirrorURL: mirrorURL,
        tufRootPath: rootPath,
        tufCachePath: cachePath,
        [identity.includes('://') ? 'certificateIdentityURI' : 'certificateIdentityEmail']: identity,
        certificateIssuer: issuer,
      });
      break;
    }
    default:
      throw new Error(`unknown verb ${verb}`);
  }
}

for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  let error = null;
  try {
    await run(JSON.parse(line));
  } catch (e) {
    error = `${e?.name}: ${e?.message}`;
  }
  process.stdout.write(JSON.stringify({ error }) + '\n');
}
