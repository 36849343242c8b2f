"""The face detectors in numpy, written from the models' descriptions, to compare with the worker's detections."""

import numpy as np
import onnxruntime

FACE_LIMITS = {
    # threshold, IoU of non-maximum suppression, largest side, side of a face from which there is a second look
    "yunet_n": (0.6, 0.45, 1920, 420),
    "centerface": (0.5, 0.3, 1600, 420),
}

# A second look has half of the scale, and decides on faces of at least this side in the first one.
DECIDED = 64

FILES = {"yunet_n": "yunet_n_dynamic.onnx", "centerface": "centerface.onnx"}


class Faces:
    """One model on one thread."""

    def __init__(self, name, models_dir, providers=("CPUExecutionProvider",)):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = f"{models_dir}/{FILES[name]}"
        self.session = onnxruntime.InferenceSession(path, options, providers=list(providers))
        self.input = self.session.get_inputs()[0].name
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.threshold, self.max_iou, self.largest_side, self.large = FACE_LIMITS[name]
        self.is_yunet = name == "yunet_n"

    def detect(self, rgb, shrink):
        """Faces of an RGB image as rows of score, left, top, right, bottom and five points; `shrink(rgb, size)` scales."""
        height, width = rgb.shape[:2]
        found = self.looks(rgb, min(max(width, height), self.largest_side), shrink)
        found[:, [1, 3]] = found[:, [1, 3]].clip(0, width)
        found[:, [2, 4]] = found[:, [2, 4]].clip(0, height)
        return found[(found[:, 3] > found[:, 1]) & (found[:, 4] > found[:, 2])]

    def looks(self, rgb, longest, shrink):
        """The faces at one scale, and at half of it where one of them is large."""
        found, scale = self.look(rgb, longest, shrink)
        if longest >= self.large and (sides(found, scale) >= self.large).any():
            return merge(found, self.looks(rgb, longest // 2, shrink), scale, self.large, self.max_iou)
        return found

    def look(self, rgb, longest, shrink):
        """The faces at one scale, in pixels of `rgb`, and pixels of `rgb` per pixel of the network, across and down."""
        height, width = rgb.shape[:2]
        shown, across, down = rgb, 1.0, 1.0
        if max(width, height) > longest:
            factor = longest / max(width, height)
            size = (max(1, round(width * factor)), max(1, round(height * factor)))
            shown, across, down = shrink(rgb, size), width / size[0], height / size[1]
        rows, columns = shown.shape[:2]
        padded = np.zeros((-(-rows // 32) * 32, -(-columns // 32) * 32, 3), np.float32)
        padded[:rows, :columns] = shown[..., ::-1] if self.is_yunet else shown
        blob = np.ascontiguousarray(padded.transpose(2, 0, 1)[np.newaxis])
        outputs = dict(zip(self.outputs, self.session.run(None, {self.input: blob})))
        found = (yunet if self.is_yunet else centerface)(outputs, padded.shape[:2], self.threshold)
        found = suppress(found, self.max_iou)
        found[:, 1::2] *= across
        found[:, 2::2] *= down
        return found, (across, down)


def sides(found, scale):
    """The longer side of each box in pixels of the network."""
    return np.maximum((found[:, 3] - found[:, 1]) / scale[0], (found[:, 4] - found[:, 2]) / scale[1])


def merge(first, second, scale, large, max_iou):
    """Both looks as one: the second decides on faces that it can see, unless it sees none of them. Smaller ones stay."""
    side = sides(first, scale)
    x, y = (first[:, 1] + first[:, 3]) / 2, (first[:, 2] + first[:, 4]) / 2
    decided = side >= DECIDED
    seen = [((face[1] <= x) & (x <= face[3]) & (face[2] <= y) & (y <= face[4]) & decided).any() for face in second]
    second = second[np.array(seen, bool)]
    if len(second) == 0:
        return first
    stays = ~decided
    for face, length in zip(second, sides(second, scale)):
        if length >= large:
            stays &= ~((face[1] <= x) & (x <= face[3]) & (face[2] <= y))
        stays &= np.array([iou(face[1:5], other[1:5]) <= max_iou for other in first])
    both = np.vstack([second, first[stays]])
    return both[np.argsort(-both[:, 0], kind="stable")]


def yunet(outputs, input_size, threshold):
    found = []
    for stride in (8, 16, 32):
        columns = input_size[1] // stride
        score = np.sqrt(outputs[f"cls_{stride}"][0, :, 0].clip(0, 1) * outputs[f"obj_{stride}"][0, :, 0].clip(0, 1))
        index = np.nonzero(score >= threshold)[0]
        column, row = index % columns, index // columns
        box = outputs[f"bbox_{stride}"][0, index]
        points = outputs[f"kps_{stride}"][0, index].reshape(-1, 5, 2)
        centre = (np.stack([column, row], 1) + box[:, :2]) * stride
        half = np.exp(box[:, 2:]) * stride / 2
        points = (points + np.stack([column, row], 1)[:, np.newaxis]) * stride
        found.append(np.hstack([score[index, np.newaxis], centre - half, centre + half, points.reshape(-1, 10)]))
    return np.vstack(found).astype(np.float64)


def centerface(outputs, _input_size, threshold):
    heatmap, scale, offset, landmarks = (outputs[name][0] for name in ("537", "538", "539", "540"))
    row, column = np.nonzero(heatmap[0] >= threshold)
    side = np.exp(scale[:, row, column]) * 4
    height, width = side
    top = (row + offset[0, row, column] + 0.5) * 4 - height / 2
    left = (column + offset[1, row, column] + 0.5) * 4 - width / 2
    points = landmarks[:, row, column]
    x = points[1::2] * width + left
    y = points[0::2] * height + top
    points = np.stack([x, y], 2).transpose(1, 0, 2).reshape(-1, 10)
    box = np.stack([heatmap[0, row, column], left, top, left + width, top + height], 1)
    return np.hstack([box, points]).astype(np.float64)


def suppress(found, max_iou):
    found = found[np.argsort(-found[:, 0], kind="stable")]
    kept = []
    for index in range(len(found)):
        if all(iou(found[index, 1:5], found[other, 1:5]) <= max_iou for other in kept):
            kept.append(index)
    return found[kept]


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    joint = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / joint if joint > 0 else 0.0
