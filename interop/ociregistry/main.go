// Command ociregistry serves an empty registry in memory, of CUE's module ociregistry,
// which has the referrers API.
//
//	ociregistry ADDRESS
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: ociregistry ADDRESS")
	}
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Addr())
	s := &http.Server{Handler: ociserver.New(ocimem.New(), nil), ReadHeaderTimeout: time.Minute}
	log.Fatal(s.Serve(l))
}
