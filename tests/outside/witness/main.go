// A witness of transparency logs (C2SP tlog-witness, cosignature/v1) on loopback, whose judgement is
// not ours: signatures and consistency proofs are checked by the code of Go's checksum database
// (golang.org/x/mod/sumdb).
//
//	witness STATE_FILE
//
// Says its URL and its verifier key on one line, then takes orders, one a line, and answers each:
//
//	trust VERIFIER_KEY   a log it may sign for
//	away                 answers everything with 503 from now on
//	back                 and no longer
package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	name             = "witness.test/w1"
	algCosignature   = 4
	bodyBytesMax     = 64 << 10
	proofHashesMax   = 63
	cosignatureStart = "cosignature/v1\n"
)

type seen struct {
	Size int64  `json:"size"`
	Root string `json:"root"`
}

type witness struct {
	mu    sync.Mutex
	key   ed25519.PrivateKey
	logs  map[string][]note.Verifier
	seen  map[string]seen
	state string
	away  bool
}

func (w *witness) keyBytes() []byte {
	return append([]byte{algCosignature}, w.key.Public().(ed25519.PublicKey)...)
}

func (w *witness) keyID() []byte {
	sum := sha256.Sum256(append([]byte(name+"\n"), w.keyBytes()...))
	return sum[:4]
}

func (w *witness) verifierKey() string {
	return fmt.Sprintf("%s+%x+%s", name, w.keyID(), base64.StdEncoding.EncodeToString(w.keyBytes()))
}

// cosign is the signature line for a checkpoint's text.
func (w *witness) cosign(text string, at uint64) string {
	message := fmt.Sprintf("%stime %d\n%s", cosignatureStart, at, text)
	blob := append([]byte{}, w.keyID()...)
	blob = binary.BigEndian.AppendUint64(blob, at)
	blob = append(blob, ed25519.Sign(w.key, []byte(message))...)
	return fmt.Sprintf("— %s %s\n", name, base64.StdEncoding.EncodeToString(blob))
}

// save keeps what was seen, whole or not at all.
func (w *witness) save() error {
	text, err := json.Marshal(w.seen)
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.state+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(w.state+".new", w.state)
}

type question struct {
	old        int64
	proof      tlog.TreeProof
	checkpoint []byte
}

func parse(body string) (q question, err error) {
	head, checkpoint, found := strings.Cut(body, "\n\n")
	if !found {
		return q, fmt.Errorf("no empty line")
	}
	lines := strings.Split(head, "\n")
	size := strings.TrimPrefix(lines[0], "old ")
	isOld := size != lines[0]
	q.old, err = strconv.ParseInt(size, 10, 64)
	if !isOld || err != nil || q.old < 0 || strconv.FormatInt(q.old, 10) != size {
		return q, fmt.Errorf("no old size")
	}
	if len(lines)-1 > proofHashesMax {
		return q, fmt.Errorf("too long a proof")
	}
	for _, line := range lines[1:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return q, err
		}
		q.proof = append(q.proof, hash)
	}
	q.checkpoint = []byte(checkpoint)
	return q, nil
}

func (w *witness) answer(body string) (status int, text string, kind string) {
	q, err := parse(body)
	if err != nil {
		return http.StatusBadRequest, err.Error(), "text/plain"
	}
	lines := strings.SplitN(string(q.checkpoint), "\n", 4)
	if len(lines) < 4 {
		return http.StatusBadRequest, "no checkpoint", "text/plain"
	}
	origin := lines[0]
	verifiers, known := w.logs[origin]
	if !known {
		return http.StatusNotFound, "unknown log", "text/plain"
	}
	opened, err := note.Open(q.checkpoint, note.VerifierList(verifiers...))
	if err != nil {
		return http.StatusForbidden, "not signed by a key that is trusted", "text/plain"
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	root, hashErr := tlog.ParseHash(lines[2])
	if err != nil || hashErr != nil || q.old > size {
		return http.StatusBadRequest, "not a checkpoint that follows", "text/plain"
	}
	last := w.seen[origin]
	conflict := fmt.Sprintf("%d\n", last.Size)
	if q.old != last.Size || (last.Size == size && last.Root != root.String() && size != 0) {
		return http.StatusConflict, conflict, "text/x.tlog.size"
	}
	if q.old == 0 || q.old == size {
		if len(q.proof) != 0 {
			return http.StatusUnprocessableEntity, "a proof where none can be", "text/plain"
		}
	} else {
		before, err := tlog.ParseHash(last.Root)
		if err != nil {
			return http.StatusInternalServerError, err.Error(), "text/plain"
		}
		if err := tlog.CheckTree(q.proof, size, root, last.Size, before); err != nil {
			return http.StatusUnprocessableEntity, err.Error(), "text/plain"
		}
	}
	w.seen[origin] = seen{size, root.String()}
	if err := w.save(); err != nil {
		w.seen[origin] = last
		return http.StatusInternalServerError, err.Error(), "text/plain"
	}
	return http.StatusOK, w.cosign(opened.Text, uint64(time.Now().Unix())), "text/plain"
}

func (w *witness) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		http.Error(response, "away", http.StatusServiceUnavailable)
		return
	}
	if request.Method != http.MethodPost || request.URL.Path != "/w/add-checkpoint" {
		http.NotFound(response, request)
		return
	}
	body, err := io.ReadAll(io.LimitReader(request.Body, bodyBytesMax))
	if err != nil {
		return
	}
	status, text, kind := w.answer(string(body))
	response.Header().Set("Content-Type", kind)
	response.WriteHeader(status)
	_, _ = io.WriteString(response, text)
}

func (w *witness) obey(line string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	order, argument, _ := strings.Cut(line, " ")
	switch order {
	case "trust":
		verifier, err := note.NewVerifier(argument)
		if err != nil {
			return err
		}
		w.logs[verifier.Name()] = append(w.logs[verifier.Name()], verifier)
	case "away", "back":
		w.away = order == "away"
	default:
		return fmt.Errorf("unknown order %q", order)
	}
	return nil
}

func main() {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil || len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: witness STATE_FILE", err)
		os.Exit(2)
	}
	w := &witness{
		key: key, logs: map[string][]note.Verifier{}, seen: map[string]seen{}, state: os.Args[1],
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("http://%s/w %s\n", listener.Addr(), w.verifierKey())
	go func() { _ = http.Serve(listener, w) }()
	// It ends with its input.
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		if err := w.obey(orders.Text()); err != nil {
			fmt.Println("refused:", err)
		} else {
			fmt.Println("done")
		}
	}
}
