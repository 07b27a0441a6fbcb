package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"gopkg.in/ini.v1"
)

// errNoCredentials is the error when there are none in any of the places.
var errNoCredentials = errors.New("no credentials were found")

// containers is where containers ask for their role unless they are given a whole URL.
const containers = "http://169.254.170.2"

// chain gives the first credentials that there are. It takes the place of the SDK's
// package config, whose logins of people cost start-up and size.
type chain struct{}

// Retrieve implements [aws.CredentialsProvider].
func (chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c := aws.Credentials{
		AccessKeyID:     first(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_ACCESS_KEY")),
		SecretAccessKey: first(os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SECRET_KEY")),
		SessionToken:    os.Getenv("AWS_SESSION_TOKEN"),
		Source:          "environment",
	}
	if c.HasKeys() {
		return c, nil
	}
	c, fileErr := fromFile()
	if fileErr == nil {
		return c, nil
	}
	role, roleErr := role()
	if roleErr == nil {
		ctx, cancel := context.WithTimeout(ctx, roleTime)
		defer cancel()
		if c, roleErr = role.Retrieve(ctx); roleErr == nil && c.HasKeys() {
			return c, nil
		}
		if inner, ok := errors.AsType[*url.Error](roleErr); ok {
			roleErr = inner.Err // its address may be all that it takes to get credentials
		}
	}
	return aws.Credentials{}, errors.Join(errNoCredentials, fileErr, roleErr)
}

// fromFile reads the shared file. Its errors repeat nothing of what it holds.
func fromFile() (aws.Credentials, error) {
	path := os.Getenv("AWS_SHARED_CREDENTIALS_FILE")
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return aws.Credentials{}, err
		}
		path = filepath.Join(home, ".aws", "credentials")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return aws.Credentials{}, err
	}
	file, err := ini.LoadSources(ini.LoadOptions{SpaceBeforeInlineComment: true, SkipUnrecognizableLines: true}, b)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%s cannot be parsed", path)
	}
	profile := first(os.Getenv("AWS_PROFILE"), "default")
	section, err := file.GetSection(profile)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%s has no profile %q", path, profile)
	}
	c := aws.Credentials{
		AccessKeyID:     section.Key("aws_access_key_id").Value(),
		SecretAccessKey: section.Key("aws_secret_access_key").Value(),
		SessionToken:    section.Key("aws_session_token").Value(),
		Source:          "file",
	}
	if !c.HasKeys() {
		return aws.Credentials{}, fmt.Errorf("%s has no aws_access_key_id and aws_secret_access_key in profile %q", path, profile)
	}
	return c, nil
}

// role gives who says what this process's role is: its cluster, its container, or else
// its machine.
func role() (aws.CredentialsProvider, error) {
	relative, full := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	switch token := os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"); {
	case token != "":
		o := sts.Options{Region: first(environmentRegion(), anyRegion), HTTPClient: roleClient("https://")}
		if server := os.Getenv("AWS_ENDPOINT_URL_STS"); server != "" {
			if !mayHearToken(server) {
				return nil, errors.New("AWS_ENDPOINT_URL_STS is neither of https nor of this machine or its cluster")
			}
			o.BaseEndpoint, o.HTTPClient = &server, roleClient(server)
		}
		return stscreds.NewWebIdentityRoleProvider(sts.New(o), os.Getenv("AWS_ROLE_ARN"), stscreds.IdentityTokenFile(token), func(o *stscreds.WebIdentityRoleOptions) {
			o.RoleSessionName = os.Getenv("AWS_ROLE_SESSION_NAME")
		}), nil
	case relative != "":
		full = containers + relative
	case full == "":
		return ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = imds.New(imds.Options{HTTPClient: roleClient("")}) }), nil
	case !mayHearToken(full):
		return nil, errors.New("AWS_CONTAINER_CREDENTIALS_FULL_URI is neither of https nor of this machine or its cluster")
	}
	return endpointcreds.New(full, func(o *endpointcreds.Options) {
		o.HTTPClient = roleClient(full)
		o.AuthorizationToken = os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
		if path := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); path != "" {
			o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
				b, err := os.ReadFile(path)
				return strings.TrimSpace(string(b)), err
			})
		}
	}), nil
}

// roleClient is for asking at a URL. What is said in plain text on this machine or in its
// cluster is for no proxy.
func roleClient(at string) *awshttp.BuildableClient {
	client := awshttp.NewBuildableClient().WithTimeout(roleTime)
	if u, err := url.Parse(at); err == nil && u.Scheme == "https" {
		return client
	}
	return client.WithTransportOptions(func(t *http.Transport) { t.Proxy = nil })
}

// mayHearToken reports whether a token may be sent to a URL: without TLS
// only to this machine, and to the addresses of Amazon's clusters.
func mayHearToken(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return false
	}
	switch host := u.Hostname(); {
	case u.Scheme == "https":
		return true
	case u.Scheme != "http":
		return false
	case host == "localhost" || host == "169.254.170.2" || host == "169.254.170.23" || host == "fd00:ec2::23":
		return true
	default:
		ip, err := netip.ParseAddr(host)
		return err == nil && ip.IsLoopback()
	}
}
