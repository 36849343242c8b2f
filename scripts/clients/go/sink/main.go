// Command sink is an SMTP server that keeps the mails that it is sent, and an HTTP server that shows them. For tests: it delivers nothing.
//
//	sink SMTP_ADDRESS HTTP_ADDRESS
//
// GET /mails?to=ADDRESS answers with the text of the newest mail to the address; with &wait=5s it waits for one, else 404.
// It prints a line when both ports are open.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"sightline/internal/mail"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: sink SMTP_ADDRESS HTTP_ADDRESS")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "sink:", err)
		os.Exit(1)
	}
}

func run(smtpAddress, httpAddress string) error {
	incoming, err := net.Listen("tcp", smtpAddress)
	if err != nil {
		return err
	}
	shown, err := net.Listen("tcp", httpAddress)
	if err != nil {
		return err
	}
	box := mail.NewBox()
	fmt.Printf("sink: smtp://%s http://%s\n", incoming.Addr(), shown.Addr())
	failed := make(chan error, 2)
	go func() { failed <- box.ServeSMTP(incoming) }()
	server := http.Server{Handler: box, ReadHeaderTimeout: 10 * time.Second}
	go func() { failed <- server.Serve(shown) }()
	return <-failed
}
