// Checks a proof of the audit log with nothing of ours: the notes and trees of Go's checksum
// database (golang.org/x/mod/sumdb), where the formats come from.
//
//	proof PROOF.json VERIFIER_KEY
//	proof extends KEPT_HEAD.json CONSISTENCY.json VERIFIER_KEY
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type proof struct {
	LeafIndex  int64    `json:"leaf_index"`
	Salt       []byte   `json:"salt"`
	Event      []byte   `json:"event"`
	Path       []string `json:"path"`
	Checkpoint string   `json:"checkpoint"`
}

type consistency struct {
	Path       []string `json:"path"`
	Checkpoint string   `json:"checkpoint"`
}

type head struct {
	origin string
	size   int64
	root   tlog.Hash
}

// load reads a file of JSON.
func load(file string, into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// open reads a head that this key signed.
func open(checkpoint, key string) (h head, err error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return h, err
	}
	signed, err := note.Open([]byte(checkpoint), note.VerifierList(verifier))
	if err != nil {
		return h, err
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) < 3 || lines[0] != verifier.Name() {
		return h, fmt.Errorf("the head of another log")
	}
	h.origin = lines[0]
	if h.size, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return h, err
	}
	h.root, err = tlog.ParseHash(lines[2])
	return h, err
}

func hashes(texts []string) (path []tlog.Hash, err error) {
	for _, text := range texts {
		hash, err := tlog.ParseHash(text)
		if err != nil {
			return nil, err
		}
		path = append(path, hash)
	}
	return path, nil
}

func check(file, key string) (string, error) {
	var p proof
	if err := load(file, &p); err != nil {
		return "", err
	}
	h, err := open(p.Checkpoint, key)
	if err != nil {
		return "", err
	}
	path, err := hashes(p.Path)
	if err != nil {
		return "", err
	}
	commitment := sha256.Sum256(append(p.Salt, p.Event...))
	if err := tlog.CheckRecord(path, h.size, h.root, p.LeafIndex, tlog.RecordHash(commitment[:])); err != nil {
		return "", err
	}
	return fmt.Sprintf("leaf %d of %d in %s", p.LeafIndex, h.size, h.origin), nil
}

func extends(kept, file, key string) (string, error) {
	var before, p consistency
	if err := load(kept, &before); err != nil {
		return "", err
	}
	if err := load(file, &p); err != nil {
		return "", err
	}
	from, err := open(before.Checkpoint, key)
	if err != nil {
		return "", err
	}
	to, err := open(p.Checkpoint, key)
	if err != nil {
		return "", err
	}
	path, err := hashes(p.Path)
	if err != nil {
		return "", err
	}
	if err := tlog.CheckTree(path, to.size, to.root, from.size, from.root); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d leaves of %d in %s", from.size, to.size, to.origin), nil
}

func main() {
	var said string
	var err error
	switch {
	case len(os.Args) == 3:
		said, err = check(os.Args[1], os.Args[2])
	case len(os.Args) == 5 && os.Args[1] == "extends":
		said, err = extends(os.Args[2], os.Args[3], os.Args[4])
	default:
		fmt.Fprintln(os.Stderr, "usage: proof PROOF.json VERIFIER_KEY, or proof extends KEPT.json PROOF.json VERIFIER_KEY")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
	fmt.Println("proved:", said)
}
