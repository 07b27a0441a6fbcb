// Command sigstorego is the sigstore-go client of the matrix: it uses the
// library as its documentation tells, against an instance of one's own.
//
//	sigstorego trust  TUF_URL ROOT_JSON CACHE
//	sigstorego sign   TUF_URL ROOT_JSON CACHE TOKEN FILE BUNDLE
//	sigstorego attest TUF_URL ROOT_JSON CACHE TOKEN STATEMENT BUNDLE
//	sigstorego verify TUF_URL ROOT_JSON CACHE FILE BUNDLE EMAIL ISSUER
//
// With REKOR_VERSION=1 in the environment it knows no other version of logs.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sigstorego:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 4 {
		return errors.New("usage: sigstorego trust|sign|attest|verify TUF_URL ROOT_JSON CACHE ...")
	}
	client, err := trust(args[1], args[2], args[3])
	if err != nil {
		return err
	}
	verb, rest := args[0], args[4:]
	switch {
	case verb == "trust" && len(rest) == 0:
		return nil
	case verb == "sign" && len(rest) == 3, verb == "attest" && len(rest) == 3:
		return signFile(client, verb == "attest", rest[0], rest[1], rest[2])
	case verb == "verify" && len(rest) == 4:
		return verifyFile(client, rest[0], rest[1], rest[2], rest[3])
	}
	return fmt.Errorf("%s: wrong number of arguments: %d", verb, len(rest))
}

func trust(mirror, rootPath, cache string) (*tuf.Client, error) {
	rootJSON, err := os.ReadFile(rootPath)
	if err != nil {
		return nil, err
	}
	return tuf.New(tuf.DefaultOptions().WithRoot(rootJSON).WithRepositoryBaseURL(mirror).WithCachePath(cache))
}

func signFile(client *tuf.Client, statement bool, token, file, out string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var content sign.Content = &sign.PlainData{Data: data}
	if statement {
		content = &sign.DSSEData{Data: data, PayloadType: "application/vnd.in-toto+json"}
	}
	config, err := root.GetSigningConfig(client)
	if err != nil {
		return err
	}
	opts, err := services(config, token)
	if err != nil {
		return err
	}
	if opts.TrustedRoot, err = root.GetTrustedRoot(client); err != nil {
		return err
	}
	keypair, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return err
	}
	b, err := sign.Bundle(content, keypair, opts)
	if err != nil {
		return err
	}
	text, err := protojson.Marshal(b)
	if err != nil {
		return err
	}
	return os.WriteFile(out, text, 0o644)
}

// services chooses from the signing config what to sign with.
func services(config *root.SigningConfig, token string) (sign.BundleOptions, error) {
	const timeout = 30 * time.Second
	var opts sign.BundleOptions
	now := time.Now()
	ca, err := root.SelectService(config.FulcioCertificateAuthorityURLs(), sign.FulcioAPIVersions, now)
	if err != nil {
		return opts, err
	}
	opts.CertificateProvider = sign.NewFulcio(&sign.FulcioOptions{BaseURL: ca.URL, Timeout: timeout})
	opts.CertificateProviderOptions = &sign.CertificateProviderOptions{IDToken: token}
	versions := sign.RekorAPIVersions
	if os.Getenv("REKOR_VERSION") == "1" {
		versions = []uint32{1}
	}
	logs, err := root.SelectServices(config.RekorLogURLs(), config.RekorLogURLsConfig(), versions, now)
	if err != nil {
		return opts, err
	}
	for _, l := range logs {
		opts.TransparencyLogs = append(opts.TransparencyLogs, sign.NewRekor(&sign.RekorOptions{BaseURL: l.URL, Timeout: timeout, Version: l.MajorAPIVersion}))
	}
	tsas, err := root.SelectServices(config.TimestampAuthorityURLs(), config.TimestampAuthorityURLsConfig(), sign.TimestampAuthorityAPIVersions, now)
	if err != nil {
		return opts, err
	}
	for _, t := range tsas {
		opts.TimestampAuthorities = append(opts.TimestampAuthorities, sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: t.URL, Timeout: timeout}))
	}
	return opts, nil
}

func verifyFile(client *tuf.Client, file, bundlePath, email, issuer string) error {
	trusted, err := root.GetTrustedRoot(client)
	if err != nil {
		return err
	}
	b, err := bundle.LoadJSONFromPath(bundlePath)
	if err != nil {
		return err
	}
	v, err := verify.NewVerifier(trusted, verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1), verify.WithSignedCertificateTimestamps(1))
	if err != nil {
		return err
	}
	who, err := verify.NewShortCertificateIdentity(issuer, "", email, "")
	if err != nil {
		return err
	}
	artifact, err := os.Open(file)
	if err != nil {
		return err
	}
	defer artifact.Close()
	_, err = v.Verify(b, verify.NewPolicy(verify.WithArtifact(artifact), verify.WithCertificateIdentity(who)))
	return err
}
