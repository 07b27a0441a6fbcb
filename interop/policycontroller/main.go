// Command policycontroller is policy-controller in a process: its controller takes a
// TrustRoot into the ConfigMap of its keys, in a cluster that is only in memory, and its
// webhook's library judges images by ClusterImagePolicies that refer to it.
//
//	policycontroller TRUSTROOT.json
//
// It stays: each line that it reads is JSON, {"image": …, "policy": …}, and is answered
// with one line, {"error": …}, null if the image is admitted.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/sigstore/policy-controller/pkg/apis/config"
	"github.com/sigstore/policy-controller/pkg/apis/policy/v1alpha1"
	policyclient "github.com/sigstore/policy-controller/pkg/client/injection/client/fake"
	trustroots "github.com/sigstore/policy-controller/pkg/client/injection/informers/policy/v1alpha1/trustroot/fake"
	"github.com/sigstore/policy-controller/pkg/reconciler/trustroot"
	"github.com/sigstore/policy-controller/pkg/webhook"
	webhookcip "github.com/sigstore/policy-controller/pkg/webhook/clusterimagepolicy"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	kubeclient "knative.dev/pkg/client/injection/kube/client/fake"
	"knative.dev/pkg/injection"
	_ "knative.dev/pkg/injection/clients/namespacedkube/informers/core/v1/configmap/fake"
	"knative.dev/pkg/reconciler"
	"knative.dev/pkg/system"
)

// maxQuestion is the longest line that is read, in bytes.
const maxQuestion = 1 << 20

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "policycontroller:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: policycontroller TRUSTROOT.json")
	}
	if err := os.Setenv(system.NamespaceEnvKey, "cosign-system"); err != nil {
		return err
	}
	ctx, trustErr := trust(context.Background(), args[0])
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxQuestion)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		err := trustErr
		if err == nil {
			err = admit(ctx, lines.Bytes())
		}
		var answer struct {
			Error *string `json:"error"`
		}
		if err != nil {
			text := err.Error()
			answer.Error = &text
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

// trust has the controller reconcile a TrustRoot, and gives a context with the keys that
// it then has for the webhook.
func trust(ctx context.Context, path string) (context.Context, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var resource v1alpha1.TrustRoot
	if err := json.Unmarshal(text, &resource); err != nil {
		return nil, err
	}
	resource.SetDefaults(ctx)
	if err := resource.Validate(ctx); err != nil {
		return nil, err
	}
	cluster, _ := injection.Fake.SetupInformers(ctx, &rest.Config{})
	controller := trustroot.NewController(cluster, nil)
	if _, err := policyclient.Get(cluster).PolicyV1alpha1().TrustRoots().Create(ctx, &resource, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	if err := trustroots.Get(cluster).Informer().GetIndexer().Add(&resource); err != nil {
		return nil, err
	}
	leader, ok := controller.Reconciler.(reconciler.LeaderAware)
	if !ok {
		return nil, fmt.Errorf("a reconciler of type %T leads nobody", controller.Reconciler)
	}
	if err := leader.Promote(reconciler.UniversalBucket(), func(reconciler.Bucket, types.NamespacedName) {}); err != nil {
		return nil, err
	}
	if err := controller.Reconciler.Reconcile(cluster, resource.Name); err != nil {
		return nil, fmt.Errorf("the TrustRoot is not reconciled: %w", err)
	}
	stored, err := kubeclient.Get(cluster).CoreV1().ConfigMaps(system.Namespace()).Get(ctx, config.SigstoreKeysConfigName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	keys, err := config.NewSigstoreKeysFromConfigMap(stored)
	if err != nil {
		return nil, err
	}
	return config.ToContext(ctx, &config.Config{SigstoreKeysConfig: keys}), nil
}

// admit judges the image of a question.
func admit(ctx context.Context, question []byte) error {
	var q struct {
		Image  string                      `json:"image"`
		Policy v1alpha1.ClusterImagePolicy `json:"policy"`
	}
	if err := json.Unmarshal(question, &q); err != nil {
		return err
	}
	image, err := name.ParseReference(q.Image)
	if err != nil {
		return err
	}
	q.Policy.SetDefaults(ctx)
	if err := q.Policy.Validate(ctx); err != nil {
		return err
	}
	policy := webhookcip.ConvertClusterImagePolicyV1alpha1ToWebhook(&q.Policy)
	result, errs := webhook.ValidatePolicy(ctx, "default", image, *policy, authn.DefaultKeychain)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if result == nil || len(result.AuthorityMatches) != len(policy.Authorities) {
		return fmt.Errorf("not all authorities match: %+v", result)
	}
	return nil
}
