"""The object detectors and the colour of vehicles in numpy, written from the models' descriptions, to compare with the worker's."""

import numpy as np
import onnxruntime
from PIL import Image

from faces import iou

FILES = {"yolox_nano": "yolox_nano_416_batch.onnx", "picodet_s": "picodet_s_416_batch.onnx"}

# threshold, IoU of non-maximum suppression
LIMITS = {"yolox_nano": (0.35, 0.45), "picodet_s": (0.4, 0.6)}

# IoU from which two boxes of different labels are one vehicle.
LABEL_IOU = 0.7

VEHICLES = {2: "car", 3: "motorcycle", 5: "bus", 7: "truck"}

SIDE = 416

COLOURS_FILE = "vehicle_attributes_0039.onnx"
COLOURS = ("white", "gray", "yellow", "red", "green", "blue", "black")
COLOUR_THRESHOLD, SMALLEST_SIDE, CROP_SIDE = 0.5, 32, 72


def shrink(rgb, size):
    """Scales as Pillow does, without rounding to whole levels."""
    planes = [Image.fromarray(np.ascontiguousarray(rgb[..., colour], dtype=np.float32)) for colour in range(3)]
    return np.stack([np.asarray(plane.resize(size, Image.Resampling.BILINEAR)) for plane in planes], 2)


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Objects:
    """One model on one thread."""

    def __init__(self, name, models_dir):
        self.session = session(f"{models_dir}/{FILES[name]}")
        self.detect = self.yolox if name == "yolox_nano" else self.picodet
        self.max_iou = LIMITS[name][1]

    def run(self, planes):
        name = self.session.get_inputs()[0].name
        return self.session.run(None, {name: np.ascontiguousarray(planes.transpose(2, 0, 1)[None], np.float32)})

    def yolox(self, rgb, threshold):
        height, width = rgb.shape[:2]
        ratio = min(SIDE / width, SIDE / height)
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        padded = np.full((SIDE, SIDE, 3), 114, np.float32)
        padded[: size[1], : size[0]] = shrink(rgb, size)[..., ::-1]
        (rows,) = self.run(padded)[0]
        cells = []
        for stride in (8, 16, 32):
            line, column = np.mgrid[: SIDE // stride, : SIDE // stride]
            cells.append(np.stack([column.ravel(), line.ravel(), np.full(line.size, stride)], 1))
        cells = np.concatenate(cells)
        stride = cells[:, 2:]
        centre, half = (rows[:, :2] + cells[:, :2]) * stride, np.exp(rows[:, 2:4]) * stride / 2
        scores = rows[:, 4:5] * rows[:, 5:]
        boxes = np.hstack([centre - half, centre + half])
        return self.finish(scores, boxes, threshold, (width / size[0], height / size[1]), (width, height))

    def picodet(self, rgb, threshold):
        height, width = rgb.shape[:2]
        levels = shrink(rgb, (SIDE, SIDE)) / 255
        outputs = self.run((levels - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225))
        scores, boxes = np.concatenate([output[0] for output in outputs[:4]]), []
        for output, stride in zip(outputs[4:], (8, 16, 32, 64)):
            columns = -(-SIDE // stride)
            centre = np.stack([np.arange(len(output[0])) % columns, np.arange(len(output[0])) // columns], 1) + 0.5
            bins = output[0].reshape(-1, 4, 8).astype(np.float64)
            bins = np.exp(bins - bins.max(2, keepdims=True))
            sides = (bins * np.arange(8)).sum(2) / bins.sum(2)
            boxes.append(np.hstack([centre - sides[:, :2], centre + sides[:, 2:]]) * stride)
        return self.finish(scores, np.concatenate(boxes), threshold, (width / SIDE, height / SIDE), (width, height))

    def overlaps(self, best, others):
        """Which of the others are boxes of the same class with too much overlap."""
        width = (np.minimum(best[3], others[:, 3]) - np.maximum(best[1], others[:, 1])).clip(0)
        height = (np.minimum(best[4], others[:, 4]) - np.maximum(best[2], others[:, 2])).clip(0)
        area = (others[:, 3] - others[:, 1]) * (others[:, 4] - others[:, 2])
        joint = (best[3] - best[1]) * (best[4] - best[2]) + area - width * height
        return (best[5] == others[:, 5]) & (width * height > self.max_iou * joint)

    def finish(self, scores, boxes, threshold, scale, size):
        """Rows of score, left, top, right, bottom and class in pixels of the original, the best first."""
        best = scores.argmax(1)
        found = np.column_stack([scores.max(1), boxes, best]).astype(np.float64)
        found = found[found[:, 0] >= threshold]
        found = found[np.argsort(-found[:, 0], kind="stable")]
        kept = []
        while len(found):
            kept.append(found[0])
            found = found[1:][~self.overlaps(found[0], found[1:])]
        found = np.array(kept).reshape(-1, 6)
        found[:, [1, 3]] = (found[:, [1, 3]] * scale[0]).clip(0, size[0])
        found[:, [2, 4]] = (found[:, [2, 4]] * scale[1]).clip(0, size[1])
        return found[(found[:, 3] > found[:, 1]) & (found[:, 4] > found[:, 2])]


def vehicles(rows):
    """The vehicles among what Objects found, the best first: of boxes of different labels that overlap too much, the better one."""
    kept = []
    for row in rows:
        if int(row[5]) in VEHICLES and all(iou(row[1:5], better[1:5]) <= LABEL_IOU for better in kept):
            kept.append(row)
    return kept


class Colours:
    """The colour of the vehicle in a box."""

    def __init__(self, models_dir):
        self.session = session(f"{models_dir}/{COLOURS_FILE}")

    def of(self, rgb, label, box):
        """The colour and its score; no colour where the worker must not name one."""
        left, top = max(0, int(np.floor(box[0]))), max(0, int(np.floor(box[1])))
        right, bottom = min(rgb.shape[1], int(np.ceil(box[2]))), min(rgb.shape[0], int(np.ceil(box[3])))
        if label not in ("car", "bus", "truck") or min(right - left, bottom - top) < SMALLEST_SIDE:
            return None, None
        crop = shrink(rgb[top:bottom, left:right], (CROP_SIDE, CROP_SIDE))[..., ::-1]
        planes = np.ascontiguousarray(crop.transpose(2, 0, 1)[None], np.float32)
        scores = self.session.run(["color"], {"input": planes})[0][0]
        best = int(scores.argmax())
        return COLOURS[best] if scores[best] >= COLOUR_THRESHOLD else None, float(scores[best])


def average_precision(found, truth):
    """AP50 of one class. `found`: (score, image, box), `truth`: image to boxes. Area under the precision's envelope."""
    total = sum(len(boxes) for boxes in truth.values())
    left = {image: list(boxes) for image, boxes in truth.items()}
    hits = []
    for _, image, box in sorted(found, key=lambda row: -row[0]):
        best = max(left.get(image, []), key=lambda other: iou(box, other), default=None)
        hit = best is not None and iou(box, best) >= 0.5
        if hit:
            left[image].remove(best)
        hits.append(hit)
    if not hits:
        return 0.0
    right = np.cumsum(hits)
    recall, precision = right / total, right / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * precision).sum())


def ap50(found, annotations):
    """Mean AP50 over the classes that are annotated. `found`: file to rows of score, four corners and class."""
    values = {}
    for number, name in enumerate(annotations["classes"]):
        truth = {}
        for image in annotations["images"]:
            boxes = [entry["bbox_xywh"] for entry in image["objects"] if entry["class"] == number]
            if boxes:
                truth[image["file"]] = [(x, y, x + width, y + height) for x, y, width, height in boxes]
        if truth:
            rows = [(row[0], file, tuple(row[1:5])) for file, found_rows in found.items() for row in found_rows if row[5] == number]
            values[name] = average_precision(rows, truth)
    return sum(values.values()) / len(values), values
