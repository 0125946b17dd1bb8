"""The views of the page on sensitivity in words: their names, three sentences each, and a formula."""

from __future__ import annotations

from metalab.ui.i18n import _


def names() -> dict[str, str]:
    """The views, in words."""
    return {
        "rates": _("Rate and steps"),
        "away": _("Unlike training"),
        "ambiguous": _("Half the points"),
        "trained": _("Training steps"),
        "norm": _("Batch norm"),
        "shots": _("Shots"),
        "labels": _("Labels"),
    }


def questions() -> dict[str, str]:
    """What each view answers, in its three sentences."""
    return {
        "rates": _(
            "From one θ, every inner learning rate and number of inner steps is tried on the same held-out tasks. "
            "Along the direction in which a support loss bends most, by λ, a step of rate α multiplies the distance to "
            "the optimum by 1 − αλ: beyond 2/λ it grows. "
            "The red line is 2/λ of the middle task at θ, the zone holds 80% of the tasks; half of the tasks choose "
            "the best cell and the other half judge it, because the best of many cells is partly luck."
        ),
        "away": _(
            "The run practised on waves inside the box. "
            "Each place of the map is a wave of that amplitude and phase, to which θ adapts from a few points; the "
            "colour is what is left of it, as a share of its own mean square. "
            "Click a place to see its wave below: outside the box θ is a worse start, and the same steps do not reach."
        ),
        "ambiguous": _(
            "One wave, and 200 support sets from it: the line is the mean of what was learned, the band its middle "
            "90%. "
            "Where points lie, they hold the function near the truth, whichever they are. "
            "Where none lies, only what meta-training taught can fill the gap, and the width says how sure that is."
        ),
        "trained": _(
            "Each row is a run that was meta-trained with k inner steps, each column a test with k′. "
            "A run need not be at its best with the steps that its θ was made for: more may still help, or lose again. "
            "All cells are means over the same held-out tasks."
        ),
        "norm": _(
            "Batch normalisation centres each channel by a mean and scales it by a variance: of which images is a "
            "choice. "
            "Over all query images together, every query tells something about the others' classes; with the support "
            "set and one query alone, or with averages from training, it cannot. "
            "The gap between them is what transduction gives away, on the same θ and the same tasks."
        ),
        "shots": _(
            "The support sets grow: fewer shots are the first of more, and the query sets stay the same. "
            "Every column starts from the same θ, so that its lowest cell says what θ knows without any example. "
            "More steps help only where there are examples enough to bear them."
        ),
        "labels": _(
            "A small MAML of this page's own, not the run that is chosen, is trained twice from one initialisation on "
            "the same 40 characters: once each character keeps its label in every task, once the labels are shuffled "
            "in each. "
            "Labels that stay can be learned by heart, so that the accuracy on those characters rises before any "
            "adaptation, and says nothing of new ones. "
            "Shuffled, nobody can know a label without the support set: before adaptation the gauge stays at 1/N."
        ),
    }


FORMULAS = {
    "rates": r"\phi_{k+1} - \phi^* \approx (I - \alpha H)(\phi_k - \phi^*), \quad \alpha < \frac{2}{\lambda_{\max}(H)}",
    "away": r"\text{error} = \frac{\sum_j (f_{\phi_K}(x_j) - y_j)^2}{\sum_j y_j^2}, \quad y = A \sin(x - \varphi)",
    "ambiguous": r"S_1, \ldots, S_{200} \sim p(S \mid \text{task}), \quad f_{\phi_K(\theta, S_r)}(x)",
    "trained": r"E_{k k'} = \tfrac{1}{T} \textstyle\sum_i \mathcal{L}^{\mathrm{query}}_i"
    r"\big(\phi_{i,k'}(\theta^{(k)})\big)",
    "norm": r"\hat h = \gamma \, \frac{h - \mu_B}{\sqrt{\sigma_B^2 + \epsilon}} + \beta",
    "labels": r"\mathbb{E}\,[\text{accuracy of } f_{\theta}] = \frac{1}{N} \;\; \text{(shuffled)}",
    "shots": r"\phi_{k+1} = \phi_k - \alpha \nabla \frac{1}{n} \sum_{j=1}^{n} \ell(x_j, y_j; \phi_k)",
}
