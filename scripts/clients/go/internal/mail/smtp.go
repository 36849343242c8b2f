package mail

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"time"
)

const (
	// longestMail bounds the bytes of a mail.
	longestMail = 1 << 20
	// mostRecipients bounds the recipients of a mail.
	mostRecipients = 100
	// silence is how long a client may say nothing.
	silence = time.Minute
)

var errTooLong = errors.New("the mail is too long")

// ServeSMTP receives mails until the listener is closed.
func (box *Box) ServeSMTP(listener net.Listener) error {
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer client.Close()
			_ = box.talk(client)
		}()
	}
}

// talk answers the commands of one client: RFC 5321 as far as a client needs it to hand over a mail.
func (box *Box) talk(client net.Conn) error {
	lines := bufio.NewReader(io.LimitReader(client, 100*longestMail))
	say := func(line string) error {
		_, err := io.WriteString(client, line+"\r\n")
		return err
	}
	if err := say("220 sink ready"); err != nil {
		return err
	}
	var recipients []string
	for {
		if err := client.SetDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimRight(line, "\r\n")
		verb, argument, _ := strings.Cut(line, " ")
		answer := "250 ok"
		switch strings.ToUpper(verb) {
		case "RCPT":
			if len(recipients) == mostRecipients {
				answer = "452 too many recipients"
				break
			}
			recipients = append(recipients, addressOf(argument))
		case "RSET", "MAIL":
			recipients = nil
		case "DATA":
			if err := say("354 go on"); err != nil {
				return err
			}
			content, err := readData(lines)
			if err != nil {
				return err
			}
			box.put(received{to: recipients, text: textOf(content)})
			recipients = nil
		case "QUIT":
			return say("221 bye")
		}
		if err := say(answer); err != nil {
			return err
		}
	}
}

// addressOf reads the address out of `TO:<someone@example.org> …`.
func addressOf(argument string) string {
	_, rest, _ := strings.Cut(argument, "<")
	address, _, _ := strings.Cut(rest, ">")
	return address
}

// readData reads a mail up to the line with only a dot.
func readData(lines *bufio.Reader) (string, error) {
	var content strings.Builder
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == ".\r\n" || line == ".\n" {
			return content.String(), nil
		}
		if content.Len() > longestMail {
			return "", errTooLong
		}
		content.WriteString(strings.TrimPrefix(line, "."))
	}
}

// textOf returns subject and body of a mail, decoded. Whatever cannot be decoded is returned as it came.
func textOf(content string) string {
	message, err := mail.ReadMessage(strings.NewReader(content))
	if err != nil {
		return content
	}
	var body io.Reader = message.Body
	switch strings.ToLower(message.Header.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return content
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject"))
	if err != nil {
		subject = message.Header.Get("Subject")
	}
	return subject + "\n\n" + string(text)
}
