import torch  # noqa: TID253

from medseg.inference.activations import BUFFERS, activation_bytes

SIDE = 16
ONE = SIDE**3 * 4  # bytes of one channel


def test_a_chain_holds_two_activations_at_once() -> None:
    def build() -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Conv3d(1, 8, 3, padding=1),
            torch.nn.Conv3d(8, 2, 3, padding=1),
            torch.nn.ReLU(inplace=True),
        )

    assert activation_bytes(build, (1, 1, SIDE, SIDE, SIDE)) == (8 + 2) * ONE + BUFFERS * 8 * ONE
    assert activation_bytes(build, (3, 1, SIDE, SIDE, SIDE)) == 3 * ((8 + 2) * ONE + BUFFERS * 8 * ONE)


def test_a_skip_connection_stays_alive() -> None:
    class Skip(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv3d(1, 4, 1)
            self.inner = torch.nn.ModuleList(torch.nn.Conv3d(4, 4, 1) for _ in range(5))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            kept = x = self.first(image)
            for layer in self.inner:
                x = layer(x)
            return torch.cat([kept, x], 1)

    # in a layer: what was kept, what comes in and what goes out; joined at the end, two of 8 are allowed for
    assert activation_bytes(Skip, (1, 1, SIDE, SIDE, SIDE)) == (4 + 4 + 4) * ONE + BUFFERS * 8 * ONE


def test_a_network_that_looks_at_values_cannot_be_told() -> None:
    class Looks(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image if float(image.max()) > 0 else -image

    assert activation_bytes(Looks, (1, 1, 4, 4, 4)) is None
