// Checks a proof of the audit log with nothing of ours: the notes and trees of Go's checksum
// database (golang.org/x/mod/sumdb), where the formats come from.
//
//	proof PROOF.json VERIFIER_KEY
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

func check(file, key string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var p proof
	if err := json.Unmarshal(text, &p); err != nil {
		return "", err
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return "", err
	}
	head, err := note.Open([]byte(p.Checkpoint), note.VerifierList(verifier))
	if err != nil {
		return "", err
	}
	lines := strings.Split(head.Text, "\n")
	if len(lines) < 3 || lines[0] != verifier.Name() {
		return "", fmt.Errorf("the head of another log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return "", err
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return "", err
	}
	var path tlog.RecordProof
	for _, text := range p.Path {
		hash, err := tlog.ParseHash(text)
		if err != nil {
			return "", err
		}
		path = append(path, hash)
	}
	commitment := sha256.Sum256(append(p.Salt, p.Event...))
	if err := tlog.CheckRecord(path, size, root, p.LeafIndex, tlog.RecordHash(commitment[:])); err != nil {
		return "", err
	}
	return fmt.Sprintf("leaf %d of %d in %s", p.LeafIndex, size, lines[0]), nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: proof PROOF.json VERIFIER_KEY")
		os.Exit(2)
	}
	said, err := check(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
	fmt.Println("proved:", said)
}
