// Command generate writes the Go code of the protos, without protoc.
//
//	go run ./generate PROTOS OUT
//
// In: the folder of the protos. Out: a folder for each of their packages under OUT, which is emptied first.
//
// The compiler is protocompile, a library; the plugins are protoc-gen-go and protoc-gen-go-grpc, which go.mod pins as tools. So the code is
// never older than the protos, and none is checked in.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// The go_package of each proto begins with the name of this module.
const module = "sightline"

var plugins = []string{"protoc-gen-go", "protoc-gen-go-grpc"}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go run ./generate PROTOS OUT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(protos, out string) error {
	names, err := protoNames(protos)
	if err != nil {
		return err
	}
	request, err := compile(protos, names)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	for _, plugin := range plugins {
		files, err := ask(plugin, request)
		if err != nil {
			return fmt.Errorf("%s: %w", plugin, err)
		}
		for _, file := range files {
			if err := write(filepath.Join(out, strings.TrimPrefix(file.GetName(), "gen/")), file.GetContent()); err != nil {
				return err
			}
		}
	}
	return nil
}

// protoNames returns the paths of the protos within their folder.
func protoNames(folder string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".proto" {
			return err
		}
		name, err := filepath.Rel(folder, path)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%s has no protos", folder)
	}
	return names, err
}

// compile returns the request to the plugins: each file after those that it imports.
func compile(protos string, names []string) (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{protos}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      proto.String("module=" + module),
	}
	seen := map[string]bool{}
	var add func(file protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, protodesc.ToFileDescriptorProto(file))
	}
	for _, file := range files {
		add(file)
	}
	return request, checkPackages(request.ProtoFile, names)
}

// checkPackages fails where the code of a proto would be outside of this module.
func checkPackages(files []*descriptorpb.FileDescriptorProto, names []string) error {
	for _, file := range files {
		for _, name := range names {
			if file.GetName() == name && !strings.HasPrefix(file.GetOptions().GetGoPackage(), module+"/gen/") {
				return fmt.Errorf("%s: its go_package must begin with %s/gen/", name, module)
			}
		}
	}
	return nil
}

// ask runs a plugin.
func ask(plugin string, request *pluginpb.CodeGeneratorRequest) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	input, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	var output bytes.Buffer
	command := exec.Command("go", "tool", plugin)
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(input), &output, os.Stderr
	if err := command.Run(); err != nil {
		return nil, err
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(output.Bytes(), response); err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, fmt.Errorf("%s", response.GetError())
	}
	return response.File, nil
}

func write(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}
