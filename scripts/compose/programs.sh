# Sourced by scripts/compose-check and scripts/kubernetes-real, after during.sh: builds the programs of this checkout, for the image that
# scripts/compose/image.sh makes of them.
# shellcheck shell=bash

# stage_programs FOLDER: the program of the image, without the lines of debugging, with what it needs.
stage_programs() {
  choose_rust || die "no suitable Rust found: run scripts/setup"
  leave_out_camera
  build_programs during
  mkdir -p "$1/out/bin" "$1/out/lib" "$1/out/models" "$1/out/share"
  install -s -m 755 "$CARGO_TARGET_DIR/release/sightline" "$1/out/bin/"
  cp "$ort_dylib" "$1/out/lib/libonnxruntime.so"
  "$1/out/bin/sightline" models pull centerface
  cp "$SIGHTLINE_MODELS_DIR/centerface.onnx" "$1/out/models/"
  # As in docker/Dockerfile: where no source can be reached, the image is made without it.
  if "$1/out/bin/sightline" models pull mobilefacenet_128d; then
    cp "$SIGHTLINE_MODELS_DIR/mobilefacenet_128d_batch.onnx" "$1/out/models/"
  fi
  "$root/scripts/crate-licences" >"$1/out/share/crates.NOTICE"
  printf 'FROM scratch\nCOPY out /out\n' >"$1/Dockerfile"
}

# stage_camera FOLDER: the camera program, for the image beside the one of stage_programs. FOLDER ends with -camera (docker/Dockerfile).
stage_camera() {
  choose_rust || die "no suitable Rust found: run scripts/setup"
  leave_out_camera
  [ ${#without_camera[@]} = 0 ] || die "the image of the camera program needs them: run scripts/setup"
  build_programs during
  mkdir -p "$1/out/camera/bin" "$1/out/camera/share"
  install -s -m 755 "$CARGO_TARGET_DIR/release/camera" "$1/out/camera/bin/"
  "$root/scripts/crate-licences" camera >"$1/out/camera/share/crates.NOTICE"
  printf 'FROM scratch\nCOPY out /out\n' >"$1/Dockerfile"
}
