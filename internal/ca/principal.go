package ca

import (
	"net/url"
	"strings"

	"github.com/sigbox/sigbox"
)

// principal is who a verified token speaks for.
type principal struct {
	identity sigbox.Identity
	// proofs are the texts of which one must be signed to prove possession of a
	// key.
	proofs []string
}

// principal makes the identity that the token's issuer type calls for.
func (t *verifiedToken) principal() (principal, error) {
	id := sigbox.Identity{Issuer: t.iss}
	var err error
	switch t.issuer.Type {
	case Email:
		return t.emailPrincipal()
	case URI:
		id.Kind = sigbox.URISAN
		id.Subject, err = t.uri()
	case SPIFFE:
		id.Kind = sigbox.URISAN
		id.Subject, err = t.sub, checkSPIFFE(t.sub, t.issuer.TrustDomain)
	case Username:
		id.Kind = sigbox.OtherNameSAN
		id.Subject, err = t.username()
	case Kubernetes:
		id.Kind = sigbox.URISAN
		id.Subject, err = t.serviceAccount()
	case CIProvider:
		id.Kind = sigbox.URISAN
		id.Subject, id.Extensions, err = t.issuer.ci.apply(t.claims)
	default: // newIssuer lets no other in
		err = sigbox.Errorf(sigbox.Internal, "issuer type %q", t.issuer.Type)
	}
	if err != nil {
		return principal{}, err
	}
	id.Extensions.TokenSubject = t.sub
	return principal{id, t.subProofs()}, nil
}

// subProofs are the texts of a proof of possession for types that are not email.
// It is the subject; but sigstore-js and sigstore-go sign the email address
// whenever a token has one, whatever its issuer's type, and cannot know better.
// It is as good: a claim of the same token, signed by the same key.
func (t *verifiedToken) subProofs() []string {
	proofs := []string{t.sub}
	if email, err := t.claims.text("email"); err == nil && email != t.sub {
		proofs = append(proofs, email)
	}
	return proofs
}

// emailPrincipal is for a person or a service account with a verified address.
func (t *verifiedToken) emailPrincipal() (principal, error) {
	email, err := t.claims.text("email")
	if err != nil {
		return principal{}, err
	}
	if !validEmail(email) {
		return principal{}, sigbox.Errorf(sigbox.Unauthenticated, "the identity token's email %.200q is no address that a certificate can hold", email)
	}
	if err := t.checkVerified(); err != nil {
		return principal{}, err
	}
	id := sigbox.Identity{Issuer: t.iss, Subject: email, Kind: sigbox.EmailSAN}
	id.Extensions.TokenSubject = t.sub
	if t.issuer.claim != nil {
		if id.Issuer, err = t.claims.textAt(t.issuer.claim...); err != nil {
			return principal{}, err
		}
	}
	return principal{id, []string{email}}, nil
}

// checkVerified wants the issuer to say that it has verified the address. Some
// say so with a string.
func (t *verifiedToken) checkVerified() error {
	if t.issuer.SkipEmailVerification {
		return nil
	}
	if !t.claims.has("email_verified") {
		return missing("email_verified")
	}
	switch v := string(t.claims["email_verified"]); v {
	case `true`, `"true"`, `"True"`:
		return nil
	}
	return sigbox.Errorf(sigbox.Unauthenticated, "the identity token says that its email address is not verified (email_verified)").
		WithHint("confirm the address at the identity provider and log in again")
}

// uri gives the subject of a uri issuer: a URI of exactly its scheme and host.
func (t *verifiedToken) uri() (string, error) {
	d := t.issuer.domain
	u, err := url.Parse(t.sub)
	if err != nil || u.Scheme != d.Scheme || u.Host != d.Host || u.User != nil || strings.Contains(t.sub, `\`) {
		return "", sigbox.Errorf(sigbox.Unauthenticated, "the identity token's sub: expected a URI of %s://%s, found %.200q", d.Scheme, d.Host, t.sub)
	}
	return u.String(), nil
}

// username gives the subject of a username issuer: sub!domain.
func (t *verifiedToken) username() (string, error) {
	if strings.ContainsAny(t.sub, "!@") {
		return "", sigbox.Errorf(sigbox.Unauthenticated, "the identity token's sub %.200q is no user name: it has a ! or an @ in it", t.sub)
	}
	return t.sub + "!" + t.issuer.SubjectDomain, nil
}

// serviceAccount gives the URI of a Kubernetes service account.
func (t *verifiedToken) serviceAccount() (string, error) {
	namespace, err := t.claims.textAt("kubernetes.io", "namespace")
	if err != nil {
		return "", err
	}
	account, err := t.claims.textAt("kubernetes.io", "serviceaccount", "name")
	if err != nil {
		return "", err
	}
	if !isLabel(namespace) || !validHost(account) {
		return "", sigbox.Errorf(sigbox.Unauthenticated, "the identity token names no service account of Kubernetes: found %.80q in the namespace %.80q", account, namespace)
	}
	return "https://kubernetes.io/namespaces/" + namespace + "/serviceaccounts/" + account, nil
}

// maxSPIFFE is the longest SPIFFE ID, in bytes (SPIFFE-ID §2.3).
const maxSPIFFE = 2048

// checkSPIFFE wants a SPIFFE ID of exactly the trust domain (SPIFFE-ID §2).
func checkSPIFFE(id, domain string) error {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	found, path, hasPath := strings.Cut(rest, "/")
	ok = ok && len(id) <= maxSPIFFE && validTrustDomain(found)
	if hasPath {
		for segment := range strings.SplitSeq(path, "/") {
			ok = ok && segment != "" && segment != "." && segment != ".." && only(segment, "-._")
		}
	}
	if !ok {
		return sigbox.Errorf(sigbox.Unauthenticated, "the identity token's sub %.200q is no SPIFFE ID", id)
	}
	if found != domain {
		return sigbox.Errorf(sigbox.Unauthenticated, "the identity token's sub is of another trust domain: expected %q, found %.200q", domain, found)
	}
	return nil
}

// validTrustDomain is SPIFFE-ID §2.1.
func validTrustDomain(s string) bool {
	return s != "" && len(s) <= 255 && only(s, "-._") && strings.ToLower(s) == s
}

// validEmail says whether s is an address with a plain local part (RFC 5321
// §4.1.2, Dot-string) and a domain name.
func validEmail(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || len(local) > 64 || !validHost(domain) {
		return false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || !only(atom, "!#$%&'*+-/=?^_`{|}~") {
			return false
		}
	}
	return true
}
