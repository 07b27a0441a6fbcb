// The sigstore-js client of the matrix: trusts an instance by its TUF
// repository, signs by its signing config and verifies, as npm users do.
//
//   client.mjs trust  TUF_URL ROOT_JSON CACHE
//   client.mjs sign   TUF_URL ROOT_JSON CACHE TOKEN FILE BUNDLE
//   client.mjs attest TUF_URL ROOT_JSON CACHE TOKEN FILE BUNDLE
//   client.mjs verify TUF_URL ROOT_JSON CACHE FILE BUNDLE EMAIL ISSUER
//
// With REKOR_VERSION=1 in the environment it sees no logs of other versions.
import fs from 'node:fs';
import { bundleToJSON } from '@sigstore/bundle';
import { SigningConfig } from '@sigstore/protobuf-specs';
import { bundleBuilderFromSigningConfig } from '@sigstore/sign';
import { initTUF } from '@sigstore/tuf';
import { verify } from 'sigstore';

const [verb, mirrorURL, rootPath, cachePath, ...args] = process.argv.slice(2);

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
    const [file, bundle, email, issuer] = args;
    await verify(JSON.parse(fs.readFileSync(bundle).toString()), fs.readFileSync(file), {
      tufMirrorURL: mirrorURL,
      tufRootPath: rootPath,
      tufCachePath: cachePath,
      certificateIdentityEmail: email,
      certificateIssuer: issuer,
    });
    break;
  }
  default:
    throw new Error(`unknown verb ${verb}`);
}
