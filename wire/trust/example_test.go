package trust_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/trust"
)

// Whom a trust root lists.
func Example() {
	file, err := os.ReadFile("../../docs/verification/trusted_root.json")
	if err != nil {
		log.Fatal(err)
	}
	root, err := trust.ParseRoot(file)
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range root.Logs {
		fmt.Println("log", l.BaseURL, l.Details)
	}
	for _, ca := range root.CertificateAuthorities {
		fmt.Println("authority", ca.CommonName, "since", ca.ValidFor.Start)
	}
	// Output:
	// log https://log2026-1.sigbox-191b0ab655.internal PKIX_ED25519
	// authority sigbox intermediate since 2026-11-21 23:27:38 +0000 UTC
}

// Which log to sign with, of those that a signing configuration offers: the
// highest version that the caller speaks, which is in use now.
func ExampleSelect() {
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	offered := []sigbox.Service{
		{URL: "https://v1.log.example", MajorAPIVersion: 1, ValidFor: sigbox.TimeRange{Start: day(1)}},
		{URL: "https://v2.log.example", MajorAPIVersion: 2, ValidFor: sigbox.TimeRange{Start: day(2)}},
		{URL: "https://next.log.example", MajorAPIVersion: 2, ValidFor: sigbox.TimeRange{Start: day(30)}},
	}
	logs, err := trust.Select(offered, sigbox.Selector{Mode: "ANY"}, day(3), []int{1, 2})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(logs[0].URL)
	// Output:
	// https://v2.log.example
}
