package mail

import (
	"net"
	"net/smtp"
	"strings"
	"testing"
	"time"
)

func TestAMailIsShownToItsRecipientDecoded(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	box := NewBox()
	go func() { _ = box.ServeSMTP(listener) }()
	content := "Subject: Reset\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nhttp://x/#token=3Dslp_a=\r\nb\r\n..dot\r\n"
	err = smtp.SendMail(listener.Addr().String(), nil, "s@example.org", []string{"Ann@example.org"}, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	text, found := box.Await("ann@example.org", 5*time.Second)
	if !found || !strings.HasPrefix(text, "Reset\n\n") || !strings.Contains(text, "#token=slp_ab") {
		t.Fatalf("%v %q", found, text)
	}
	if _, found := box.Await("ben@example.org", 0); found {
		t.Fatal("the mail is shown to somebody else")
	}
}

func TestABoxForgetsTheOldestMails(t *testing.T) {
	box := NewBox()
	for range kept + 1 {
		box.put(received{to: []string{"a@example.org"}, text: "x"})
	}
	if len(box.mails) != kept {
		t.Fatalf("%d mails", len(box.mails))
	}
}
