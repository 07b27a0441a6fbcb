package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/trust"
)

// reach asks each service that signers are told to use now.
func (e *exam) reach(ctx context.Context, config *sigbox.SigningConfig) (found []Finding) {
	if config == nil {
		return nil
	}
	ask := func(what, url, path string) {
		if _, err := e.Client.Fetch(ctx, what, strings.TrimRight(url, "/")+path, maxFile); err != nil {
			found = append(found, failed(Problem, err, "signers are sent there", cmp.Or(hint(err), astray)))
			return
		}
		found = append(found, well(what+" at "+url+" answers")...)
	}
	for _, s := range e.inUse(config.CAs) {
		ask("the certificate authority", s.URL, "/api/v2/trustBundle")
		found = append(found, e.grpc(ctx, s.URL)...)
		if !strings.HasPrefix(s.URL, e.URL) && strings.HasPrefix(s.URL, "https:") {
			found = append(found, e.tls(ctx, s.URL)...)
		}
	}
	for _, s := range e.inUse(config.TSAs) {
		ask("the timestamp authority", s.URL, "/certchain")
	}
	for _, s := range e.inUse(config.OIDC) {
		found = append(found, e.provider(ctx, s.URL))
	}
	return found
}

// inUse gives the services that are good now.
func (e *exam) inUse(all []sigbox.Service) []sigbox.Service {
	services, err := trust.Select(all, sigbox.Selector{Mode: "ALL"}, e.Now(), []int{1})
	if err != nil {
		return nil
	}
	return services
}

// grpc asks the authority in the way of sigstore-java.
func (e *exam) grpc(ctx context.Context, url string) []Finding {
	if err := e.Client.ProbeGRPC(ctx, url); err != nil {
		f := failed(Warning, err, "sigstore-java asks by gRPC, at the address of the HTTP API, and cannot sign", "have what stands between speak HTTP/2 to both sides (nginx: grpc_pass); other clients do not need it")
		f.Check = "gRPC"
		return []Finding{f}
	}
	return []Finding{{Level: OK, Check: "gRPC", Found: "the certificate authority at " + url + " speaks HTTP/2 and gRPC"}}
}

// provider looks at what an OpenID provider says of itself.
func (e *exam) provider(ctx context.Context, issuer string) Finding {
	var doc struct {
		Issuer     string   `json:"issuer"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	b, err := e.Client.Fetch(ctx, "the OpenID provider", issuer+"/.well-known/openid-configuration", maxFile)
	if err == nil {
		err = json.Unmarshal(b, &doc)
	}
	switch {
	case err != nil:
		return failed(Problem, err, "nobody can sign in there", "")
	case strings.TrimRight(doc.Issuer, "/") != strings.TrimRight(issuer, "/"):
		return Finding{Level: Problem, Found: fmt.Sprintf("the OpenID provider at %s calls itself %.200q", issuer, doc.Issuer), Means: "clients refuse its tokens", Do: "name it in the signing config as it names itself"}
	case len(doc.Algorithms) > 0 && !slices.Contains(doc.Algorithms, "RS256"):
		return Finding{Level: Warning, Found: "the OpenID provider at " + issuer + " does not sign with RS256", Means: "cosign's --identity-token takes no other tokens", Do: "have the provider sign with RS256 for this client"}
	}
	return Finding{Level: OK, Found: "the OpenID provider at " + issuer + " answers"}
}

// maxIssuers bounds the issuers that are asked.
const maxIssuers = 64

// issuers fetches the keys of each issuer whose tokens the authority takes, from here.
func (e *exam) issuers(ctx context.Context, config *sigbox.SigningConfig) (found []Finding) {
	if config == nil {
		return nil
	}
	keys := remote.NewIssuerKeys(remote.IssuerKeysConfig{})
	for _, s := range e.inUse(config.CAs) {
		var answer struct {
			Issuers []struct {
				URL string `json:"issuerUrl"`
			} `json:"issuers"`
		}
		b, err := e.Client.Fetch(ctx, "the certificate authority", s.URL+"/api/v2/configuration", maxFile)
		if err == nil {
			err = json.Unmarshal(b, &answer)
		}
		if err != nil {
			found = append(found, failed(Warning, err, "whose tokens it takes is not known", cmp.Or(hint(err), astray)))
			continue
		}
		for _, issuer := range answer.Issuers[:min(len(answer.Issuers), maxIssuers)] {
			if issuer.URL != "" { // one with a wildcard has no address
				found = append(found, e.issuer(ctx, keys, issuer.URL))
			}
		}
	}
	return found
}

func (e *exam) issuer(ctx context.Context, keys *remote.IssuerKeys, url string) Finding {
	if err := keys.Check(ctx, url); err != nil {
		return failed(Warning, err, "the authority needs the keys of "+url+" to check its tokens; seen from here it cannot have them, and from the server it may", "see on the server: sigbox token explain --data DIR TOKEN; and docs/operations.md, \"Identities\"")
	}
	return Finding{Level: OK, Found: "the keys of " + url + " can be fetched"}
}

// privateCA is where each client is told of an authority that is not public.
const privateCA = "name the authority's file to each client: SSL_CERT_FILE (sigbox, cosign, Go), REQUESTS_CA_BUNDLE (Python), NODE_EXTRA_CA_CERTS (Node), -Djavax.net.ssl.trustStore (Java)"

// tls looks at the certificate of a server.
func (e *exam) tls(ctx context.Context, url string) []Finding {
	s, err := remote.ProbeTLS(ctx, url, e.Roots, e.Now())
	if err != nil && url == e.URL {
		return nil // of a server that is away another check tells
	}
	if err != nil {
		return named("TLS", []Finding{failed(Problem, err, "no client connects to "+url, "see tls: in the settings, and what stands in front")})
	}
	found := []Finding{byTLS().ends("the TLS certificate of "+url, s.Chain[0].NotAfter, e.Now(), "no client connects from then on", "renew it; sigbox reads the files of tls: again by itself when they change")}
	if s.Err != nil {
		found = append(found, untrusted(url, s))
	}
	if s.Protocol != "h2" {
		found = append(found, Finding{Level: Warning, Found: url + " does not speak HTTP/2 over TLS", Means: "sigstore-java cannot sign: gRPC needs it", Do: "turn HTTP/2 on in what stands in front"})
	}
	if len(found) == 1 && found[0].Level == OK {
		found[0].Found += ", and is trusted here (" + s.Version + ", HTTP/2)"
	}
	return named("TLS", found)
}

// untrusted says why clients do not trust a certificate, and what helps.
func untrusted(url string, s remote.TLSState) Finding {
	leaf := s.Chain[0]
	f := Finding{Level: Problem, Found: "the TLS certificate of " + url + " is not trusted: " + sigbox.DescribeX509(s.Err), Means: "clients refuse to connect"}
	if _, ok := errors.AsType[x509.HostnameError](s.Err); ok {
		f.Found = fmt.Sprintf("the TLS certificate of %s is for other names: %.300q", url, strings.Join(names(leaf), ", "))
		f.Do = "get one for the host name of url: in the settings, or have clients use one of these names"
		return f
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](s.Err); ok {
		f.Found = fmt.Sprintf("the TLS certificate of %s is by an authority that is not known here: %.100q", url, leaf.Issuer.String())
		f.Do = privateCA
		if len(s.Chain) == 1 && leaf.Issuer.String() != leaf.Subject.String() {
			f.Do = "if the authority is a public one, the server has to send its intermediate certificates, after its own in tls: cert; else " + privateCA
		}
		return f
	}
	f.Do = "see the certificate: openssl s_client -connect " + strings.TrimPrefix(url, "https://") + " -showcerts"
	return f
}

// names are what a certificate is for.
func names(c *x509.Certificate) []string {
	all := c.DNSNames
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return []string{"none"}
	}
	return all
}
