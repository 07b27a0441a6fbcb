package doctor

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
)

// clients looks at the trust root and the signing config as each of Sigstore's clients
// does: what one of them stumbles over, the others may not mind.
func clients(p published) (found []Finding) {
	c := clientRules{published: p}
	c.shape()
	c.chains()
	c.logs()
	if p.config != nil {
		c.config()
	} else {
		c.warn("there is no signing config", "cosign 3, sigstore-python and sigstore-go do not know where to sign", "publish signing_config.v0.2.json, as sigbox does")
	}
	if c.found == nil {
		return well("the trust root and the signing config are as cosign and the libraries for Go, Python, JavaScript, Java and Rust want them")
	}
	return c.found
}

// clientRules collects what clients stumble over.
type clientRules struct {
	published
	found []Finding
}

func (c *clientRules) warn(what, means, do string) {
	c.found = append(c.found, Finding{Level: Warning, Found: what, Means: means, Do: do})
}

func (c *clientRules) wrong(what, means, do string) {
	c.found = append(c.found, Finding{Level: Problem, Found: what, Means: means, Do: do})
}

// byOtherMake is what to do about what sigbox does not write.
const byOtherMake = "write it as sigbox does: sigbox trust export"

// shape looks at the file itself.
func (c *clientRules) shape() {
	var file struct {
		MediaType string `json:"mediaType"`
	}
	const media = "application/vnd.dev.sigstore.trustedroot"
	if json.Unmarshal(c.rootJSON, &file) != nil || !strings.HasPrefix(file.MediaType, media) {
		c.wrong(fmt.Sprintf("the trust root has the media type %.60q", file.MediaType), "clients refuse it: they expect "+media, byOtherMake)
	}
	if bytes.Contains(c.rootJSON, []byte(`"checkpointKeyId"`)) {
		c.warn("the trust root has checkpointKeyId", "sigstore-js takes it for the log's ID, and refuses promises and SCTs", byOtherMake)
	}
	for name, n := range map[string]int{"certificate authority": len(c.root.CertificateAuthorities), "transparency log": len(c.root.Logs)} {
		if n == 0 {
			c.wrong("the trust root names no "+name, "sigstore-python refuses it as a whole, and other clients verify nothing with it", byOtherMake)
		}
	}
}

// chains looks at the authorities' certificates.
func (c *clientRules) chains() {
	for _, ca := range c.root.CertificateAuthorities {
		c.start("the CA", ca.ValidFor)
		c.address("the CA", ca.URI)
		if len(ca.Chain) < 2 || !selfSigned(ca.Chain[len(ca.Chain)-1]) {
			c.wrong("a CA's chain is not an intermediate and then its self-signed root", "sigstore-python and policy-controller do not verify its certificates", byOtherMake)
		}
		if key := issuerKey(ca.Chain); key != x509.ECDSA && key != x509.RSA {
			c.warn("a CA signs with "+key.String(), "sigstore-python verifies SCTs under ECDSA and RSA issuers alone", "use ECDSA P-256 or P-384")
		}
	}
	for _, tsa := range c.root.TimestampAuthorities {
		c.start("the timestamp authority", tsa.ValidFor)
		c.address("the timestamp authority", tsa.URI)
		if len(tsa.Chain) < 2 || selfSigned(tsa.Chain[0]) || !selfSigned(tsa.Chain[len(tsa.Chain)-1]) {
			c.wrong("a timestamp authority's chain is not its own certificate first and a self-signed root last", "sigstore-js and sigstore-go find no leaf, and refuse its timestamps", byOtherMake)
		}
	}
}

func selfSigned(der []byte) bool {
	cert, err := sigbox.ParseCertificate(der)
	return err == nil && bytes.Equal(cert.RawIssuer, cert.RawSubject)
}

func issuerKey(chain [][]byte) x509.PublicKeyAlgorithm {
	if len(chain) == 0 {
		return x509.UnknownPublicKeyAlgorithm
	}
	cert, err := sigbox.ParseCertificate(chain[0])
	if err != nil {
		return x509.UnknownPublicKeyAlgorithm
	}
	return cert.PublicKeyAlgorithm
}

// logs looks at the logs of the trust root.
func (c *clientRules) logs() {
	for _, l := range c.root.Logs {
		c.start("the log "+l.BaseURL, l.ValidFor)
		c.address("a log", l.BaseURL)
	}
	for _, l := range c.root.CTLogs {
		c.start("the CT log "+l.BaseURL, l.ValidFor)
		c.address("a CT log", l.BaseURL)
	}
}

// start wants a validity to begin at a whole second: timestamps are cut to it.
func (c *clientRules) start(what string, r sigbox.TimeRange) {
	if !r.Start.Equal(r.Start.Truncate(time.Second)) {
		c.warn(fmt.Sprintf("the validity of %s begins within a second, at %s", what, r.Start.UTC().Format(time.RFC3339Nano)), "timestamps of that second seem to be from before", byOtherMake)
	}
}

// address wants a URL as clients join and compare them.
func (c *clientRules) address(what, at string) {
	if strings.HasSuffix(at, "/") {
		c.wrong(fmt.Sprintf("the URL of %s ends in a slash: %.200s", what, at), "clients join paths to it, and ask for what is not there; or they compare it, and find it to be another", "take the slash away")
	}
}

// config looks at where clients are told to sign.
func (c *clientRules) config() {
	for name, services := range map[string][]sigbox.Service{"CA": c.published.config.CAs, "OpenID provider": c.published.config.OIDC, "timestamp authority": c.published.config.TSAs} {
		for _, s := range services {
			c.address("a "+name, s.URL)
			if s.MajorAPIVersion != 1 {
				c.wrong(fmt.Sprintf("the %s %.200s is of API version %d", name, s.URL, s.MajorAPIVersion), "clients know it as version 1, whatever its paths say, and pass it over", "set majorApiVersion to 1")
			}
		}
	}
	for _, ca := range c.published.config.CAs {
		if u, err := url.Parse(ca.URL); err == nil && u.Path != "" {
			c.warn("the CA's URL has a path: "+u.Path, "sigstore-python loses it when it joins URLs, and sigstore-java's gRPC has none", "serve the CA at the root of a host name")
		}
		if u, err := url.Parse(ca.URL); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
			c.warn("the CA is reached by http", "sigstore-java speaks TLS alone, and sigbox sends no tokens there", "set tls: in the settings, or a proxy that speaks TLS in front")
		}
	}
	for name, s := range map[string]sigbox.Selector{"logs": c.published.config.LogSelector, "timestamp authorities": c.published.config.TSASelector} {
		if s.Mode != "ANY" {
			c.warn(fmt.Sprintf("the selector of %s is %.20s", name, s.Mode), "sigstore-js takes no other than ANY", "set it to ANY")
		}
	}
	c.order()
}

func isLoopback(host string) bool {
	return host == "localhost" || strings.HasPrefix(host, "127.") || host == "::1"
}

// order wants clients that know v2 to take it: some take the first that is listed, and
// sigstore-js the one whose validity begins last.
func (c *clientRules) order() {
	var v1, v2 *sigbox.Service
	first := 0
	for i := range c.published.config.Logs {
		s := &c.published.config.Logs[i]
		c.address("a log", s.URL)
		if !s.ValidFor.End.IsZero() {
			continue
		}
		if first == 0 {
			first = s.MajorAPIVersion
		}
		switch s.MajorAPIVersion {
		case 1:
			v1 = s
		case 2:
			v2 = s
		}
	}
	if v1 == nil || v2 == nil {
		return
	}
	if first != 2 {
		c.warn("the log of v1 is listed before that of v2", "clients that take the first write to v1", "list v2 first")
	}
	if v1.ValidFor.Start.After(v2.ValidFor.Start) {
		c.warn("the validity of the v1 log begins after that of v2", "sigstore-js takes the one that began last, and writes to v1", "nothing, if that will do: what it signs verifies; else turn the v1 log off (rekor-v1: false)")
	}
}
