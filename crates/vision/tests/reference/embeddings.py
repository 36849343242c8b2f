"""Face embeddings in numpy, written from the models' descriptions, to compare with the worker's."""

import numpy as np
import onnxruntime

ARCFACE = [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
OPEN_MODEL_ZOO = [
    (0.31556875, 0.46157411), (0.68262292, 0.46157411), (0.50026250, 0.64050536), (0.34947188, 0.82469196), (0.65343646, 0.82469196),
]  # fmt: skip

# File, side of the input, template, whether it reads BGR from 0 to 255; otherwise RGB normalised as for ImageNet.
NETWORKS = {
    "mobilefacenet_128d": ("mobilefacenet_128d_batch.onnx", 112, np.array(ARCFACE), False),
    "face_reid_0095": ("face_reid_0095.onnx", 128, np.array(OPEN_MODEL_ZOO) * 128, True),
}
MOST_SAMPLES = 8


def umeyama(source, target):
    """Scale, rotation and shift that bring the points of `source` closest to those of `target`, after Umeyama (1991), equations 40 to 42."""
    from_mean, to_mean = source.mean(0), target.mean(0)
    from_centred, to_centred = source - from_mean, target - to_mean
    covariance = to_centred.T @ from_centred / len(source)
    left, values, right = np.linalg.svd(covariance)
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = left @ np.diag(signs) @ right
    scale = (values * signs).sum() / from_centred.var(0).sum()
    return scale, rotation, to_mean - scale * rotation @ from_mean


def align(rgb, landmarks, template, side):
    """The aligned face, levels from 0 to 255; each pixel is the mean of a grid of samples of its area."""
    scale, rotation, shift = umeyama(landmarks, template)
    samples = int(np.clip(np.floor(1 / scale + 0.5), 1, MOST_SAMPLES))
    offsets = (np.arange(samples) + 0.5) / samples - 0.5
    steps = (np.arange(side)[:, np.newaxis] + offsets).ravel()
    x, y = np.meshgrid(steps, steps)
    points = (np.stack([x.ravel(), y.ravel()]) - shift[:, np.newaxis]).T @ rotation / scale
    crop = bilinear(rgb, points[:, 0], points[:, 1]).reshape(side, samples, side, samples, 3)
    return crop.mean((1, 3))


def bilinear(rgb, x, y):
    """Levels at points of an image, whose first pixel has its centre at (0, 0) and which is black around its edge."""
    height, width = rgb.shape[:2]
    around = np.zeros((height + 2, width + 2, 3))
    around[1:-1, 1:-1] = rgb
    inside = (x > -1) & (y > -1) & (x < width) & (y < height)
    x, y = np.where(inside, x, 0) + 1, np.where(inside, y, 0) + 1
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    across, down = (x - left)[:, np.newaxis], (y - top)[:, np.newaxis]
    upper = around[top, left] * (1 - across) + around[top, left + 1] * across
    lower = around[top + 1, left] * (1 - across) + around[top + 1, left + 1] * across
    return np.where(inside[:, np.newaxis], upper * (1 - down) + lower * down, 0)


class Embeddings:
    """One model on one thread."""

    def __init__(self, name, models_dir):
        file, self.side, self.template, self.is_bgr = NETWORKS[name]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(f"{models_dir}/{file}", options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def align(self, rgb, landmarks):
        return align(rgb, landmarks, self.template, self.side)

    def embed(self, crop):
        """The embedding of an aligned face, of length 1."""
        if self.is_bgr:
            numbers = crop[..., ::-1]
        else:
            numbers = (crop / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
        blob = np.ascontiguousarray(numbers.transpose(2, 0, 1)[np.newaxis], dtype=np.float32)
        vector = self.session.run(None, {self.input: blob})[0][0].astype(np.float64)
        return vector / np.linalg.norm(vector)
