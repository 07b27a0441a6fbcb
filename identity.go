package sigbox

// SANKind is the kind of subject alternative name that carries an identity.
type SANKind uint8

// The kinds; the first three are those of protobuf-specs'
// SubjectAlternativeNameType.
const (
	EmailSAN SANKind = iota + 1
	URISAN
	// OtherNameSAN is Fulcio's otherName 1.3.6.1.4.1.57264.1.7 (user names).
	OtherNameSAN
)

// String gives "email", "uri" or "otherName".
func (k SANKind) String() string {
	switch k {
	case EmailSAN:
		return "email"
	case URISAN:
		return "uri"
	case OtherNameSAN:
		return "otherName"
	}
	return "unknown"
}

// Identity is who a certificate speaks for: a name, and the issuer that vouched
// for it. Neither means anything without the other.
type Identity struct {
	// Issuer is the OpenID issuer's URL.
	Issuer string
	// Subject is the subject alternative name.
	Subject string
	Kind    SANKind
	// Extensions are what a CI provider says of the build.
	Extensions Extensions
}

// Extensions are Fulcio's certificate extensions below 1.3.6.1.4.1.57264.1; the
// field's number is its last arc. An empty field is absent from the certificate.
//
// Source: https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
type Extensions struct {
	GitHubWorkflowTrigger    string // .2
	GitHubWorkflowSHA        string // .3
	GitHubWorkflowName       string // .4
	GitHubWorkflowRepository string // .5
	GitHubWorkflowRef        string // .6

	BuildSignerURI                      string // .9
	BuildSignerDigest                   string // .10
	RunnerEnvironment                   string // .11
	SourceRepositoryURI                 string // .12
	SourceRepositoryDigest              string // .13
	SourceRepositoryRef                 string // .14
	SourceRepositoryIdentifier          string // .15
	SourceRepositoryOwnerURI            string // .16
	SourceRepositoryOwnerIdentifier     string // .17
	BuildConfigURI                      string // .18
	BuildConfigDigest                   string // .19
	BuildTrigger                        string // .20
	RunInvocationURI                    string // .21
	SourceRepositoryVisibilityAtSigning string // .22
	DeploymentEnvironment               string // .23
	TokenSubject                        string // .24, the token's raw sub
}
