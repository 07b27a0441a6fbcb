package instance

import (
	_ "embed" // for the files below
)

// PublicGood is the name of the instance that is built in.
const PublicGood = "public-good"

// Where the files come from, and their digests, is in publicgood/README.md.
var (
	//go:embed publicgood/root.json
	publicGoodRoot string
	//go:embed publicgood/trusted_root.json
	publicGoodTrustedRoot string
	//go:embed publicgood/signing_config.v0.2.json
	publicGoodSigningConfig string
)

// Seed is trust material that came with the program.
type Seed struct{ Root, TrustedRoot, SigningConfig []byte }

// PublicGoodSeed gives the built-in material of Sigstore's public-good instance.
func PublicGoodSeed() Seed {
	return Seed{[]byte(publicGoodRoot), []byte(publicGoodTrustedRoot), []byte(publicGoodSigningConfig)}
}

func publicGood() Instance {
	return Instance{
		Name: PublicGood, URL: "https://sigstore.dev", Mirror: "https://tuf-repo-cdn.sigstore.dev", BuiltIn: true,
	}
}
