// Package mail receives mails over SMTP and keeps the newest of them in memory.
package mail

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// kept is how many mails a box has; older ones are forgotten.
	kept = 1000
	// longestWait bounds a request that waits for a mail.
	longestWait = 30 * time.Second
)

// A received mail.
type received struct {
	to   []string
	text string
}

// Box keeps mails.
type Box struct {
	mutex sync.Mutex
	mails []received
	// came is closed, and replaced, when a mail comes.
	came chan struct{}
}

// NewBox returns an empty box.
func NewBox() *Box { return &Box{came: make(chan struct{})} }

func (box *Box) put(mail received) {
	box.mutex.Lock()
	defer box.mutex.Unlock()
	if len(box.mails) == kept {
		box.mails = slices.Delete(box.mails, 0, 1)
	}
	box.mails = append(box.mails, mail)
	close(box.came)
	box.came = make(chan struct{})
}

// newest returns the text of the newest mail to an address, and a channel that is closed when a further mail comes.
func (box *Box) newest(address string) (text string, found bool, came <-chan struct{}) {
	box.mutex.Lock()
	defer box.mutex.Unlock()
	for i := len(box.mails) - 1; i >= 0; i-- {
		if slices.ContainsFunc(box.mails[i].to, func(to string) bool { return strings.EqualFold(to, address) }) {
			return box.mails[i].text, true, box.came
		}
	}
	return "", false, box.came
}

// Await returns the text of the newest mail to an address, and waits for it at most as long as given.
func (box *Box) Await(address string, wait time.Duration) (string, bool) {
	deadline := time.NewTimer(min(wait, longestWait))
	defer deadline.Stop()
	for {
		text, found, came := box.newest(address)
		if found {
			return text, true
		}
		select {
		case <-came:
		case <-deadline.C:
			return "", false
		}
	}
}

// ServeHTTP answers GET /mails?to=ADDRESS&wait=DURATION.
func (box *Box) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	query := request.URL.Query()
	if request.Method != http.MethodGet || request.URL.Path != "/mails" || query.Get("to") == "" {
		http.Error(response, "GET /mails?to=ADDRESS&wait=DURATION", http.StatusNotFound)
		return
	}
	wait, err := time.ParseDuration(query.Get("wait"))
	if err != nil {
		wait = 0
	}
	text, found := box.Await(query.Get("to"), wait)
	if !found {
		http.Error(response, "no mail to this address", http.StatusNotFound)
		return
	}
	response.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = response.Write([]byte(text))
}
